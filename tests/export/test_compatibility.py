"""What breaks callers is named: each kind of change with the sentence that it gives."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from kitfox.export import compare
from kitfox.services import MethodTable
from kitfox.services.descriptors import descriptor_set

OLD = """
syntax = "proto3";
package shop;
enum Colour { UNSET = 0; RED = 1; BLUE = 2; }
message Tag { string text = 1; }
message Label { string text = 1; }
message Basket {
  string owner = 1;
  int64 count = 2;
  repeated string items = 3;
  optional string note = 4;
  Colour colour = 5;
  Tag tag = 6;
  map<string, int64> prices = 7;
  oneof payment { string card = 8; int64 cash = 9; }
  int32 small = 10;
}
message BuyTaskRequest { Basket basket = 1; optional string coupon = 2; }
message Receipt { string text = 1; }
service ShopService {
  rpc BuyTaskPredict(BuyTaskRequest) returns (Receipt);
  rpc Watch(Receipt) returns (stream Receipt);
}
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> FileDescriptorSet:
    return files(OLD, tmp_path_factory.mktemp("shop") / "old")


def files(text: str, folder: Path) -> FileDescriptorSet:
    folder.mkdir()
    (folder / "shop.proto").write_text(text)
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}"),
        *(f"--descriptor_set_out={folder}/out", "shop.proto"),
    ]
    subprocess.run(command, check=True)
    return FileDescriptorSet.FromString((folder / "out").read_bytes())


BASKET = "message shop.Basket"
BREAKS = [
    pytest.param(
        ("string owner = 1;", ""),
        "message shop.Basket, field owner: removed; it is dropped over gRPC and refused over "
        "REST, and answers lack it",
        id="a field is removed",
    ),
    pytest.param(
        ("string owner = 1;", "bytes stamp = 1;"),
        "message shop.Basket, field owner: removed, and its number 1 is now that of stamp; "
        "the bytes of one are read as the other",
        id="a field is removed and its number used again",
    ),
    pytest.param(
        ("string owner = 1;", "string buyer = 1;"),
        "message shop.Basket, field owner: renamed to buyer; JSON has the name, and REST "
        "refuses the old one",
        id="a field is renamed",
    ),
    pytest.param(
        ("string owner = 1;", "string owner = 21;"),
        "message shop.Basket, field owner: renumbered from 1 to 21; its bytes are not found "
        "any more",
        id="a field is renumbered",
    ),
    pytest.param(
        ("string owner = 1;", "string owner = 21; string other = 1;"),
        "message shop.Basket, field owner: renumbered from 1 to 21; its bytes are not found "
        "any more, and are read as those of other",
        id="a field is renumbered and its number used again",
    ),
    pytest.param(
        ("int64 count = 2;", "double count = 2;"),
        "message shop.Basket, field count: was int64, is double; the bytes of one cannot be "
        "read as the other",
        id="a field has another type",
    ),
    pytest.param(
        ("int32 small = 10;", "int64 small = 10;"),
        "message shop.Basket, field small: was int32, is int64; values that the other type "
        "does not have are read as different ones",
        id="a whole number has another size",
    ),
    pytest.param(
        ("string owner = 1;", "bytes owner = 1;"),
        "message shop.Basket, field owner: was string, is bytes; JSON has base64 in place of "
        "the text, or the reverse",
        id="a text is bytes",
    ),
    pytest.param(
        ("Tag tag = 6;", "Label tag = 6;"),
        "message shop.Basket, field tag: was message shop.Tag, is message shop.Label; clients"
        " made from the old version name another class",
        id="a message has another name",
    ),
    pytest.param(
        ("Tag tag = 6;", "Receipt tag = 6; message Inner {}"),
        "message shop.Basket, field tag: was message shop.Tag, is message shop.Receipt; "
        "clients made from the old version name another class",
        id="a message of the same shape",
    ),
    pytest.param(
        ("Tag tag = 6;", "BuyTaskRequest tag = 6;"),
        "message shop.Basket, field tag: was message shop.Tag, is message "
        "shop.BuyTaskRequest; the bytes of one are not those of the other",
        id="a message has another shape",
    ),
    pytest.param(
        ("map<string, int64> prices = 7;", "map<string, double> prices = 7;"),
        "message shop.Basket, field prices: was map<string, int64>, is map<string, double>; "
        "the bytes of one cannot be read as the other",
        id="a map has other values",
    ),
    pytest.param(
        ("map<string, int64> prices = 7;", "repeated Tag prices = 7;"),
        "message shop.Basket, field prices: was map<string, int64>, is a list of message "
        "shop.Tag; neither bytes nor JSON of one are the other's",
        id="a map is a list",
    ),
    pytest.param(
        ("string owner = 1;", "repeated string owner = 1;"),
        "message shop.Basket, field owner: was a single value, is a list; old clients read "
        "one value at most, and JSON differs",
        id="a value is a list",
    ),
    pytest.param(
        ("repeated string items = 3;", "string items = 3;"),
        "message shop.Basket, field items: was a list, is a single value; all but one of the "
        "values are lost, and JSON differs",
        id="a list is a value",
    ),
    pytest.param(
        ("string owner = 1;\n", "oneof who { string owner = 1; }\n"),
        "message shop.Basket, field owner: moved into the union who; setting another member "
        "clears it, and REST names the union",
        id="a field moves into a union",
    ),
    pytest.param(
        ("string card = 8; int64 cash = 9; }", "string card = 8; } int64 cash = 9;"),
        "message shop.Basket, field cash: moved out of the union payment; REST names the "
        "field and no longer the union",
        id="a field moves out of a union",
    ),
    pytest.param(
        ("oneof payment", "oneof paying"),
        "message shop.Basket, field card: moved from the union payment to paying; REST names "
        "the union\n"
        "message shop.Basket, field cash: moved from the union payment to paying; REST names "
        "the union",
        id="a union is renamed",
    ),
    pytest.param(
        ("RED = 1; ", ""),
        "enum shop.Colour, value RED: removed; callers that send it are refused",
        id="an enum value is removed",
    ),
    pytest.param(
        ("RED = 1;", "RED = 3;"),
        "enum shop.Colour, value RED: renumbered from 1 to 3; over gRPC the number means "
        "another value",
        id="an enum value is renumbered",
    ),
    pytest.param(
        ("RED = 1;", "ROUGE = 1;"),
        "enum shop.Colour, value RED: renamed to ROUGE; JSON has the name, and REST refuses "
        "the old one",
        id="an enum value is renamed",
    ),
    pytest.param(
        ("Colour colour = 5;", "int64 colour = 5;"),
        "message shop.Basket, field colour: was enum shop.Colour, is int64; values that the "
        "other type does not have are read as different ones",
        id="an enum is a number",
    ),
    pytest.param(
        ("message Label { string text = 1; }", ""),
        "message shop.Label: removed; clients made from the old version name it",
        id="a message is removed",
    ),
    pytest.param(
        ("rpc Watch(Receipt) returns (stream Receipt);", ""),
        "service shop.ShopService, rpc Watch: removed; calls fail with UNIMPLEMENTED",
        id="an rpc is removed",
    ),
    pytest.param(
        ("service ShopService", "service StoreService"),
        "service shop.ShopService: removed; calls of its methods fail with UNIMPLEMENTED",
        id="a service is removed",
    ),
    pytest.param(
        ("Watch(Receipt)", "Watch(Tag)"),
        "service shop.ShopService, rpc Watch: the request was shop.Receipt, is shop.Tag; "
        "clients made from the old version send and read the old one",
        id="an rpc has another request",
    ),
    pytest.param(
        ("returns (Receipt)", "returns (Tag)"),
        "service shop.ShopService, rpc BuyTaskPredict: the response was shop.Receipt, is "
        "shop.Tag; clients made from the old version send and read the old one",
        id="an rpc has another response",
    ),
    pytest.param(
        ("returns (stream Receipt)", "returns (Receipt)"),
        "service shop.ShopService, rpc Watch: the response was a stream, is a single message;"
        " the call's protocol is another",
        id="an answer is no stream any more",
    ),
    pytest.param(
        ("Watch(Receipt)", "Watch(stream Receipt)"),
        "service shop.ShopService, rpc Watch: the request was a single message, is a stream; "
        "the call's protocol is another",
        id="a request is a stream",
    ),
    pytest.param(
        ("Basket basket = 1;", "Basket basket = 1; Tag gift = 3;"),
        "message shop.BuyTaskRequest, field gift: added without a default; callers of the old"
        " version, who do not send it, are refused",
        id="a parameter without a default is added",
    ),
    pytest.param(
        ("optional string coupon = 2;", "string coupon = 2;"),
        "message shop.BuyTaskRequest, field coupon: has no default any more; callers that "
        "leave it out are refused",
        id="a parameter loses its default",
    ),
]


@pytest.mark.parametrize(("change", "sentences"), BREAKS)
def test_a_change_that_breaks_callers_is_named(
    change: tuple[str, str], sentences: str, old: FileDescriptorSet, tmp_path: Path
) -> None:
    found = compare(old, files(changed(*change), tmp_path / "new"))
    assert "\n".join(map(str, found.breaks)) == sentences


def changed(before: str, after: str) -> str:
    assert OLD.count(before) == 1, before
    return OLD.replace(before, after)


@pytest.mark.parametrize(
    ("change", "additions"),
    [
        pytest.param(
            ("string owner = 1;", "string owner = 1; bytes stamp = 11;"),
            [f"{BASKET}, field stamp: added"],
            id="a field",
        ),
        pytest.param(
            ("oneof payment {", "oneof payment { bool free = 11; "),
            [f"{BASKET}, field free: added"],
            id="a member of a union",
        ),
        pytest.param(
            ("BLUE = 2;", "BLUE = 2; GREEN = 3;"),
            ["enum shop.Colour, value GREEN: added"],
            id="an enum value",
        ),
        pytest.param(
            ("message Label", "enum Size { SMALL = 0; } message Box {} message Label"),
            ["message shop.Box: added", "enum shop.Size: added"],
            id="a message and an enum",
        ),
        pytest.param(
            ("rpc Watch", "rpc Stop(Tag) returns (Tag); rpc Watch"),
            ["service shop.ShopService, rpc Stop: added"],
            id="an rpc",
        ),
        pytest.param(
            ("service ShopService", "service Other {} service ShopService"),
            ["service shop.Other: added"],
            id="a service",
        ),
        pytest.param(
            ("optional string coupon = 2;", "optional string coupon = 2; optional int64 n = 3;"),
            ["message shop.BuyTaskRequest, field n: added"],
            id="a parameter with a default",
        ),
        pytest.param(("optional string note", "string note"), [], id="presence is taken away"),
        pytest.param(("string owner", "optional string owner"), [], id="presence is given"),
        pytest.param(
            ("string owner = 1;\n  int64 count = 2;", "int64 count = 2;\n  string owner = 1;"),
            [],
            id="another order",
        ),
    ],
)
def test_an_addition_is_no_break(
    change: tuple[str, str], additions: list[str], old: FileDescriptorSet, tmp_path: Path
) -> None:
    found = compare(old, files(changed(*change), tmp_path / "new"))
    assert not found.breaks
    assert [str(item) for item in found.additions] == additions


def test_several_changes_of_a_field_are_all_named(old: FileDescriptorSet, tmp_path: Path) -> None:
    new = changed("string owner = 1;", "repeated int64 owner = 21;")
    found = compare(old, files(new, tmp_path / "new"))
    assert [item.what.split(" ")[0] for item in found.breaks] == ["renumbered", "was", "was"]
    assert {item.item for item in found.breaks} == {"field owner"}


def test_a_library_is_compatible_with_itself(table: MethodTable) -> None:
    found = compare(descriptor_set(table), descriptor_set(table))
    assert not found.breaks
    assert not found.additions
