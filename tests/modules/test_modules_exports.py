import kitfox.modules


def test_all_names_are_there_and_sorted() -> None:
    names = kitfox.modules.__all__
    assert names == sorted(names)
    assert all(hasattr(kitfox.modules, name) for name in names)


def test_nothing_public_is_missing_from_the_list() -> None:
    public = {
        name
        for name, value in vars(kitfox.modules).items()
        if not name.startswith("_") and getattr(value, "__name__", "").split(".")[0] != "kitfox"
    }
    assert public == set(kitfox.modules.__all__)
