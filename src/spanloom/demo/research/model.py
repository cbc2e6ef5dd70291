"""The models, over LangChain's OpenAI client."""

from __future__ import annotations

import os

from langchain_openai import ChatOpenAI, OpenAIEmbeddings


def chat_model() -> ChatOpenAI:
    """The model that all nodes and agents talk to."""
    return ChatOpenAI(
        model=os.environ.get("OPENAI_MODEL") or "gpt-4.1-mini",
        # The nodes have their own retries.
        max_retries=0,
        # Token counts also while streaming, which LangChain asks other servers than OpenAI's for only on demand.
        stream_usage=True,
    )


def embedding_model() -> OpenAIEmbeddings:
    """The model that turns notes and searches into vectors."""
    return OpenAIEmbeddings(
        model=os.environ.get("OPENAI_EMBEDDING_MODEL") or "text-embedding-3-small",
        # The notes are short: no need to count their tokens, for which LangChain would download a vocabulary.
        check_embedding_ctx_length=False,
    )
