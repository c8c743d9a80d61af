"""Authors' log calls become ordinary records, with the log code apart."""

import json
import logging
from collections.abc import Iterator

import pytest

from kitfox.toolkit import log_channels
from kitfox.toolkit.log_channels import use_channel


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def test_a_log_code_is_kept_apart(caplog: pytest.LogCaptureFixture) -> None:
    log = use_channel("HELLO")
    with caplog.at_level(logging.INFO):
        log.info("<HLO00000001I>", "Loaded %s in %d s", "it", 3)
        log.warning("plain %s", "text")
        log.error("<only a text>")
        log.info("<HLO00000001I>")
        log.info({"log_code": "<HLO00000002I>", "message": "from a dict"})
    assert [(r.getMessage(), getattr(r, "log_code", None)) for r in caplog.records] == [
        ("Loaded it in 3 s", "<HLO00000001I>"),
        ("plain text", None),
        ("<only a text>", None),
        ("<HLO00000001I>", None),
        ("from a dict", "<HLO00000002I>"),
    ]
    assert {record.name for record in caplog.records} == {"HELLO"}


def test_the_record_names_the_line_of_the_author(caplog: pytest.LogCaptureFixture) -> None:
    log = use_channel("HELLO")
    with caplog.at_level(1):
        log.info("one")
        log.debug2("two")
        log.log(30, "three")
    assert [record.funcName for record in caplog.records] == [
        "test_the_record_names_the_line_of_the_author"
    ] * 3


def test_more_levels_than_python_has(caplog: pytest.LogCaptureFixture) -> None:
    log = use_channel("HELLO")
    with caplog.at_level(7):
        for name in ("fatal", "error", "trace", "debug", "debug1", "debug2", "debug3", "debug4"):
            getattr(log, name)(name)
    assert [record.levelno for record in caplog.records] == [50, 40, 15, 10, 9, 8, 7]


@pytest.mark.usefixtures("restored_logging")
def test_configure_sets_level_filters_and_format(capsys: pytest.CaptureFixture[str]) -> None:
    log_channels.configure("debug2", filters="LOUD:info, SILENT:off")
    for name in ("LOUD", "SILENT", "OTHER"):
        log = use_channel(name)
        log.error("<ABC1E>", "error")
        log.debug2("detail")
        log.debug3("too much")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["channel"], line["level"], line["message"]) for line in lines] == [
        ("LOUD", "error", "error"),
        ("OTHER", "error", "error"),
        ("OTHER", "debug2", "detail"),
    ]
    assert lines[0]["log_code"] == "<ABC1E>"


@pytest.mark.usefixtures("restored_logging")
def test_configure_takes_filters_as_a_mapping_and_writes_for_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_channels.configure("info", filters={"CHATTY": "debug"}, formatter="pretty", thread_id=True)
    use_channel("CHATTY").debug("heard")
    use_channel("OTHER2").debug("not heard")
    out = capsys.readouterr().out
    assert "CHATTY: heard" in out
    assert "not heard" not in out


@pytest.mark.parametrize("wrong", [{"default_level": "loud"}, {"formatter": "xml"}])
def test_configure_refuses_what_it_does_not_know(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="unknown"):
        log_channels.configure(**wrong)  # type: ignore[arg-type] # one wrong text at a time


def test_functions_and_blocks_are_logged_and_timed(caplog: pytest.LogCaptureFixture) -> None:
    log = use_channel("HELLO")

    @log_channels.logged_function(log.info)
    def plain(value: int) -> int:
        return value + 1

    @log_channels.timed_function(log.info, "<HLO1I>", "took %s ", "long:")
    def timed() -> None:
        raise KeyError("out")

    with caplog.at_level(logging.INFO):
        assert plain(2) == 3
        with pytest.raises(KeyError):
            timed()
        with log_channels.ContextLog(log.info, "<HLO2I>", "block %d", 1):
            log.info("inside")
        with log_channels.ContextTimer(log.info, "done in "):
            pass
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0].startswith("Start: ")
    assert messages[0].endswith("plain ")
    assert messages[1].startswith("End: ")
    assert messages[2].startswith("took long: 0.")
    assert messages[3:6] == ["Start: block 1", "inside", "End: block 1"]
    assert messages[6].startswith("done in 0.")
    assert vars(caplog.records[2])["log_code"] == "<HLO1I>"
