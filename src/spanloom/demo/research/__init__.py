"""The research desk of a town's newspaper: an ordinary LangGraph program, with nothing about tracing in it.

    python -m spanloom.demo.research

It splits a question into parts, has each part researched in an archive by an agent, all at once, writes an article
and asks the editor before it is printed. It needs `OPENAI_API_KEY`, and for another server than OpenAI's
`OPENAI_BASE_URL`; `OPENAI_MODEL` and `OPENAI_EMBEDDING_MODEL` choose the models.
"""
