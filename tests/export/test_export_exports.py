import kitfox.export


def test_all_names_are_there_and_none_twice() -> None:
    names = kitfox.export.__all__
    assert len(set(names)) == len(names)
    assert all(hasattr(kitfox.export, name) for name in names)


def test_nothing_public_is_missing_from_the_list() -> None:
    public = {
        name
        for name, value in vars(kitfox.export).items()
        if not name.startswith("_") and getattr(value, "__name__", "").split(".")[0] != "kitfox"
    }
    assert public == set(kitfox.export.__all__)
