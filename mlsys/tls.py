"""How a client of our own trusts a service of our own: by the very certificate that it was given."""

from __future__ import annotations

import ssl


def own(certificate: str | None) -> ssl.SSLContext | None:
    """A context that trusts `certificate` (PEM) alone, whatever name it is for; None where there is none.

    The name is not looked at: the service was started here, and its address is a number.
    """
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a chain's leaf is enough
    return context
