"""A support desk for a lighting shop: an ordinary PocketFlow program, with nothing about tracing in it.

    python -m spanloom.demo.support

It reads the tickets beside it, sorts them, looks answers up in a knowledge base, decides refunds, writes
replies, and in the end has all replies scored at once. It needs `OPENAI_API_KEY`, and for another server than
OpenAI's `OPENAI_BASE_URL`; `OPENAI_MODEL` and `OPENAI_EMBEDDING_MODEL` choose the models.
"""
