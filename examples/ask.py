"""Asks a running service and prints what it says: `python examples/ask.py http://127.0.0.1:8000 "How fast is a cat?"`.

`python run.py server=batch loadtest=none` starts one and prints its address. Only the standard library is needed.
"""

import json
import os
import sys
import urllib.error
import urllib.request

address, *questions = sys.argv[1:] or ["http://127.0.0.1:8000"]
head = {"Content-Type": "application/json"}
if key := os.environ.get("MLSYS_API_KEY"):
    head["Authorization"] = f"Bearer {key}"

for question in questions or ["How fast is a cat?"]:
    body = json.dumps({"query": question, "k": 2, "timeout_ms": 60_000}).encode()
    request = urllib.request.Request(f"{address.rstrip('/')}/rag", body, head)
    try:
        with urllib.request.urlopen(request, timeout=70) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        wait = error.headers.get("Retry-After")
        sys.exit(f"{error.code}: {error.read(2000).decode()}" + (f"; ask again in {wait} s" if wait else ""))
    except OSError as error:
        sys.exit(f"{address} does not answer: {error}")
    print(f"{question}\n  {answer['result']}")
    print(f"  batch of {answer['batch_size']}, ms: {answer['timings_ms']}")
    for passage in answer["passages"]:
        print(f"  - {passage['text'][:70]}")
