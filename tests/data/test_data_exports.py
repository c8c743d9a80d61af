"""What the package offers, and what importing it costs."""

import subprocess
import sys
from pathlib import Path

import kitfox.data

PROMISED = {
    "Annotated",
    "DataObjectBase",
    "DataStream",
    "FieldNumber",
    "JsonDict",
    "OneofField",
    "codec_of",
    "convert_json_value",
    "dataobject",
    "make_data_stream_source",
    "make_dataobject",
    "open_data_stream",
}


def test_everything_promised_is_there() -> None:
    assert set(kitfox.data.__all__) >= PROMISED
    for name in kitfox.data.__all__:
        assert getattr(kitfox.data, name) is not None


def test_importing_is_light() -> None:
    """The package around this room imports more, so an empty one stands in for it."""
    code = (
        "import sys, types\n"
        "package = types.ModuleType('kitfox')\n"
        f"package.__path__ = [{str(Path(kitfox.data.__file__).parents[1])!r}]\n"
        "sys.modules['kitfox'] = package\n"
        "import kitfox.data\n"
        "print(*sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "msgspec" in loaded
    assert loaded.isdisjoint({"numpy", "sqlalchemy", "pyarrow", "csv", "asyncio", "yaml", "rich"})


def test_only_the_errors_are_imported_of_other_rooms() -> None:
    folder = Path(kitfox.data.__file__).parent
    for path in folder.glob("*.py"):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] in (["from"], ["import"]) and words[1].startswith("kitfox"):
                assert words[1].startswith("kitfox.data") or words[1] == "kitfox.errors", path
