# pyright: basic, reportUnusedExpression=false
# PocketFlow's stubs give its classes type parameters that the real classes do not take; flows are wired by
# expressions.
"""The review at the end: all replies scored at once, then a digest for the team."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchNode
from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from .model import AsyncModel

_SCORING = "Score this support reply from 1 (useless) to 5 (solves it) and say why in one sentence."
_DIGEST = "Write a digest of these reviewed replies for the support team, in two sentences."


class Review(BaseModel):
    score: int = Field(ge=1, le=5)
    comment: str


class ScoreReplies(AsyncParallelBatchNode):
    """One model call for each reply, all under way together."""

    def __init__(self, model: AsyncModel) -> None:
        super().__init__(max_retries=2, wait=0.2)
        self.model = model

    async def prep_async(self, shared: dict[str, Any]) -> list[tuple[str, str]]:
        return [(number, done["reply"]) for number, done in shared["closed"].items() if done["reply"]]

    async def exec_async(self, prep_res: tuple[str, str]) -> dict[str, Any]:
        number, reply = prep_res
        review = await self.model.structured(Review, _SCORING, f"Reply to ticket {number}:\n\n{reply}")
        return {"ticket": number, **review.model_dump()}

    async def post_async(self, shared: dict[str, Any], prep_res: Any, exec_res: list[dict[str, Any]]) -> None:
        shared["reviews"] = exec_res


class WriteDigest(AsyncNode):
    def __init__(self, model: AsyncModel) -> None:
        super().__init__(max_retries=2, wait=0.2)
        self.model = model

    async def prep_async(self, shared: dict[str, Any]) -> str:
        return "\n".join(f"{r['ticket']}: {r['score']} of 5. {r['comment']}" for r in shared["reviews"])

    async def exec_async(self, prep_res: str) -> str:
        return await self.model.streamed(_DIGEST, prep_res)

    async def post_async(self, shared: dict[str, Any], prep_res: str, exec_res: str) -> None:
        shared["digest"] = exec_res


class ReviewFlow(AsyncFlow):
    """Score, then sum up."""

    def __init__(self, model: AsyncModel) -> None:
        score = ScoreReplies(model)
        score >> WriteDigest(model)
        super().__init__(start=score)
