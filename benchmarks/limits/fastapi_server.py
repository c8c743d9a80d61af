"""FastAPI on uvicorn with its compiled parts; its argument is PORT."""

import sys
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

app = FastAPI()


class HelloInput(BaseModel):
    """Who to greet."""

    name: str


class Greeting(BaseModel):
    """A greeting."""

    greeting: str


class Text(BaseModel):
    """A text of any size."""

    text: str


class Point(BaseModel):
    """An object in an object."""

    x: int
    y: float
    name: str


class Path(BaseModel):
    """Many objects in an object."""

    points: list[Point]


@app.post("/hello")
async def hello(text_input: HelloInput) -> Greeting:
    """Answers on the event loop: the quickest that FastAPI can."""
    return Greeting(greeting=f"Hello {text_input.name}")


@app.post("/hello-in-a-thread")
def hello_in_a_thread(text_input: HelloInput) -> Greeting:
    """Answers in a thread, as FastAPI does where a function may wait: as model code may."""
    return Greeting(greeting=f"Hello {text_input.name}")


@app.post("/greet")
async def greet(text_input: HelloInput) -> StreamingResponse:
    """A stream of server-sent events."""

    async def events() -> AsyncIterator[str]:
        for number in range(500):
            text = Greeting(greeting=f"Hello {text_input.name} {number}").model_dump_json()
            yield f"data: {text}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


@app.post("/echo")
async def echo(text: Text) -> Text:
    """The same text."""
    return Text(text=text.text)


@app.post("/path")
async def path(path: Path) -> Path:
    """A path of the same points, each of them read and made anew."""
    return Path(points=[Point(x=p.x, y=p.y, name=p.name) for p in path.points])


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
