"""What the load generator's process is told: a JSON file, kept so that the load can be sent again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlsys.errors import UserError, cause, one_line
from mlsys.loadtest.questions import Question

FILE_NAME = "loadtest.json"
KEY_VARIABLE = "MLSYS_LOADTEST_API_KEY"


@dataclass
class Spec:
    """`arrivals` and `load` as `options.split` gives them; an API key travels in the environment.

    `gated`: a level is only begun when its gate is there. `leavers`: clients that go (`mlsys.loadtest.leaving`).
    """

    url: str
    directory: str
    arrivals: dict[str, Any]
    load: dict[str, Any]
    seed: int
    expected_tokens: int | None = None
    hang_up: bool = False
    questions: list[Question] = field(default_factory=list)
    server: dict[str, Any] = field(default_factory=dict)  # how it is asked, for `apis.make`
    certificate: str | None = None  # of a service of our own that has TLS
    gated: bool = False
    leavers: list[dict[str, float]] = field(default_factory=list)

    def write(self) -> Path:
        """Write it into its directory; returns the file's path."""
        path = Path(self.directory) / FILE_NAME
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")
        return path

    @staticmethod
    def read(path: Path) -> Spec:
        """Read it back. Raises UserError for a file that is none."""
        try:
            content = json.loads(path.read_text())
            questions = [Question.read(question) for question in content.pop("questions")]
            return Spec(**content, questions=questions)
        except OSError as error:
            raise UserError(cause(error)) from None
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise UserError(f"{path} is no {FILE_NAME} of a run: {one_line(error)}") from None
