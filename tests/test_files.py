"""Files are complete or absent, whatever ends the writing."""

import pytest

from ddco_jax.plasma.files import complete, write_text


@pytest.mark.parametrize("ending", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("existing", [True, False])
def test_a_failed_write_changes_nothing(ending, existing, tmp_path):
    target = tmp_path / "data.nc"
    if existing:
        target.write_text("old")
    with pytest.raises(ending), complete(target) as partial:
        partial.write_text("half of the n")
        raise ending
    assert [p.name for p in tmp_path.iterdir()] == (["data.nc"] if existing else [])
    assert not existing or target.read_text() == "old"


def test_a_failure_before_the_first_byte_is_not_masked(tmp_path):
    with pytest.raises(ValueError, match="cause"), complete(tmp_path / "data.nc"):
        raise ValueError("cause")
    assert not list(tmp_path.iterdir())


def test_the_file_appears_at_the_end_of_the_block(tmp_path):
    target = tmp_path / "new" / "folder" / "data.nc"
    with complete(target) as partial:
        partial.write_text("new")
        assert partial.name == "data.nc.part" and partial.parent == target.parent and not target.exists()
    assert target.read_text() == "new" and list(target.parent.iterdir()) == [target]


def test_what_a_killed_write_left_is_overwritten(tmp_path):
    (tmp_path / "data.json.part").write_text("left by a kill")
    (tmp_path / "data.json").write_text("old")
    write_text(tmp_path / "data.json", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["data.json"]
    assert (tmp_path / "data.json").read_text() == "new"
