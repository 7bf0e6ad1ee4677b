"""Any client of OpenAI works: `python examples/openai_client.py http://127.0.0.1:8000 "How fast is a cat?"`."""

import os
import sys

from openai import OpenAI

client = OpenAI(base_url=f"{sys.argv[1].rstrip('/')}/v1", api_key=os.environ.get("MLSYS_API_KEY", "none"))
question = {"role": "user", "content": sys.argv[2]}
for chunk in client.chat.completions.create(model="rag", messages=[question], stream=True):
    for passage in (chunk.model_extra or {}).get("passages", []):
        print("-", passage["text"][:70])
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
