"""The page `/docs` in a real browser: it shows the served document, and its forms really send."""

from typing import Any

import pytest

from tests.conformance.browser import Browser, Visit
from tests.conftest import Server

# The page is the same on both; what streams may come another way.
ON_ONE_ENGINE = pytest.mark.parametrize("garden", ["envoy"], indirect=True)
# Opens an operation, and gives what a reader does with it.
BEGIN = """
const open = async (name) => {
  await page.goto(`${args.url}/docs#${name}`);
  const box = page.locator(`details[id="${name}"]`);
  await box.locator("button.send").waitFor();
  return box;
};
const end = { hasText: / in \\d+ ms, / };
const ended = (box) => box.locator(".result p[role=status]", end).waitFor();
const send = async (box) => {
  await box.locator("button.send").click();
  await ended(box);
};
const seen = (box) => box.locator(".result pre").last().innerText();
"""


def read(browser: Browser, server: Server, script: str, **args: Any) -> Any:
    """What a reader finds; the page makes no mistake, and loads nothing from elsewhere."""
    visit: Visit = browser.visit(BEGIN + script, url=server.url, **args)
    # The browser notes each answer that is a refusal.
    assert [item for item in visit.errors if "responded with a status of" not in item] == []
    inside = (f"{server.url}/", "blob:")
    assert [item for item in visit.requests if not item.startswith(inside)] == []
    return visit.value


@ON_ONE_ENGINE
def test_it_shows_all_operations(browser: Browser, garden: Server) -> None:
    found = read(
        browser,
        garden,
        """
        await page.goto(args.url);
        await page.locator(".operation").first().waitFor();
        return {
          address: page.url(),
          title: await page.title(),
          about: await page.locator("#about").innerText(),
          names: await page.locator(".operation").evaluateAll((all) => all.map((item) => item.id)),
        };
        """,
    )
    document = garden.http("GET", "/openapi.json").json
    names = [item["operationId"] for verbs in document["paths"].values() for item in verbs.values()]
    assert found["address"] == f"{garden.url}/docs"
    assert (found["title"], found["about"]) == ("Garden", document["info"]["description"])
    assert sorted(found["names"]) == sorted(names)


@ON_ONE_ENGINE
def test_an_example_is_there_to_be_sent(browser: Browser, garden: Server) -> None:
    found = read(
        browser,
        garden,
        """
        const box = await open("FindTaskPredict");
        await send(box);
        const answer = await seen(box);
        const text = box.locator("textarea");
        await text.fill('{"model_id": "tulips", "inputs": {"row": 1, "name": "x"}}');
        await send(box);
        const status = await box.locator(".result p[role=status]").innerText();
        const refusal = { status, body: await seen(box) };
        // No double holds this number.
        await text.fill('{"model_id": "roses", "inputs": {"row": 9007199254740993, "name": "x"}}');
        await text.press("Control+Enter");
        await box.locator(".result pre", { hasText: "9007199254740993" }).waitFor();
        await text.fill("{");
        return { answer, refusal, fault: await box.locator("form .fault").first().innerText() };
        """,
    )
    assert found["answer"] == '{\n  "row": 3,\n  "depth": 0.5\n}'
    assert found["refusal"]["status"].startswith("404 ")
    assert '"code": 404' in found["refusal"]["body"]
    assert found["fault"].startswith("This is no JSON")


def test_events_are_shown_as_they_come(browser: Browser, garden: Server) -> None:
    found = read(
        browser,
        garden,
        """
        const box = await open("ServerStreamingGrowTaskPredict");
        await box.locator("textarea").fill(JSON.stringify({
          model_id: "roses", inputs: { name: "rose" }, parameters: { days: 5, pause: 0.5 },
        }));
        await box.locator("button.send").click();
        await box.locator(".events li").first().waitFor();
        const running = await box.locator("button", { hasText: "Stop" }).isEnabled();
        await ended(box);
        const events = await box.locator(".events li").allInnerTexts();
        await box.locator("button.send").click();
        await box.locator(".events li").first().waitFor();
        await box.locator("button", { hasText: "Stop" }).click();
        await box.locator(".result p", { hasText: "Stopped." }).waitFor();
        return { running, events };
        """,
    )
    assert found["running"], "the first event was shown when the stream had ended"
    assert [item.split("\n")[1:] for item in found["events"]] == [
        ["message", f'{{"text": "rose {day}"}}'] for day in range(5)
    ]


@ON_ONE_ENGINE
def test_streams_of_requests_are_lines(browser: Browser, garden: Server) -> None:
    found = read(
        browser,
        garden,
        """
        const box = await open("BidiStreamingGrowTaskPredict");
        await box.locator("textarea").fill(args.lines);
        await send(box);
        return box.locator(".events li").allInnerTexts();
        """,
        lines='{"model_id": "roses", "inputs": {"name": "a"}, "parameters": {"suffix": "!"}}\n'
        '{"inputs": {"name": "b"}}\n',
    )
    assert [item.split("\n")[2] for item in found] == ['{"text": "a!"}', '{"text": "b!"}']


@ON_ONE_ENGINE
def test_files_go_both_ways(browser: Browser, garden: Server) -> None:
    found = read(
        browser,
        garden,
        """
        const box = await open("HarvestTaskPredict");
        await box.locator("select").first().selectOption("multipart/form-data");
        await box.locator("input[type=file]").setInputFiles({
          name: "plums.txt", mimeType: "text/plain", buffer: Buffer.from("plums"),
        });
        await send(box);
        const coming = page.waitForEvent("download");
        await box.locator(".result a").click();
        const file = await coming;
        const parts = [];
        for await (const part of await file.createReadStream()) parts.push(part);
        return { name: file.suggestedFilename(), content: Buffer.concat(parts).toString() };
        """,
    )
    assert found == {"name": "basket.txt", "content": "plums"}


@ON_ONE_ENGINE
def test_a_file_takes_the_place_of_a_field(browser: Browser, garden: Server) -> None:
    found = read(
        browser,
        garden,
        """
        const box = await open("GrowTaskPredict");
        await box.locator("select").first().selectOption("multipart/form-data");
        await box.locator("input[type=file]").setInputFiles({
          name: "seed.bin", mimeType: "application/octet-stream", buffer: Buffer.from("seed"),
        });
        await send(box);
        return seen(box);
        """,
    )
    assert '"seed": "c2VlZA=="' in found
    assert '"name": "name"' in found


@ON_ONE_ENGINE
def test_queries_are_fields(browser: Browser, garden: Server) -> None:
    found = read(
        browser,
        garden,
        """
        const box = await open("GetModelsInfo");
        await box.getByLabel("model_ids").fill("roses");
        await send(box);
        return seen(box);
        """,
    )
    assert '"name": "roses"' in found


@ON_ONE_ENGINE
def test_it_can_be_searched_and_used_by_keyboard(browser: Browser, garden: Server) -> None:
    found = read(
        browser,
        garden,
        """
        await page.goto(`${args.url}/docs`);
        await page.locator(".operation").first().waitFor();
        await page.keyboard.press("Tab");
        const skip = await page.evaluate(() => document.activeElement.textContent);
        await page.getByLabel("Find").fill("place find");
        const shown = page.locator(".operation:visible");
        const names = await shown.evaluateAll((all) => all.map((item) => item.id));
        await shown.first().locator("> summary").focus();
        await page.keyboard.press("Enter");
        await shown.first().locator("button.send").waitFor();
        await page.getByLabel("Find").fill("nothing like that");
        return { skip, names, status: await page.locator("#status").innerText() };
        """,
    )
    assert found["skip"].startswith("Skip")
    assert found["names"][0] == "FindTaskPredict"
    assert found["status"].startswith("Nothing")


@ON_ONE_ENGINE
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_small_screen_and_the_text_can_be_read(
    browser: Browser, garden: Server, scheme: str
) -> None:
    found = read(
        browser,
        garden,
        """
        await page.setViewportSize({ width: 360, height: 700 });
        await page.emulateMedia({ colorScheme: args.scheme });
        const box = await open("GrowTaskPredict");
        await send(box);
        return page.evaluate(() => {
          const channels = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
          const light = (text) => {
            const [r, g, b] = channels(text).map((value) => {
              const part = value / 255;
              return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const behind = (element) => {
            const colour = getComputedStyle(element).backgroundColor;
            return colour === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : colour;
          };
          const contrast = (element) => {
            const pair = [light(getComputedStyle(element).color), light(behind(element))];
            return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
          };
          const texts = "h1, h2, p, .soft, .verb, .path, code, pre, .required, a, button.send";
          const elements = [...document.querySelectorAll(texts)];
          return {
            wide: document.documentElement.scrollWidth - innerWidth,
            pale: elements.filter((item) => contrast(item) < 4.5).map((item) => item.outerHTML),
          };
        });
        """,
        scheme=scheme,
    )
    assert found["wide"] <= 0
    assert found["pale"] == []
