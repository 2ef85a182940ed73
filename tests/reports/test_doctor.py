"""The examination of an installation tries each part, and says what failed."""

import descentcast as dc


def by_name():
    return {row["check"]: row for row in dc.reports.examine()}


def test_this_installation_is_sound():
    rows = by_name()
    assert not [row for row in rows.values() if row["state"] == "failed"]
    assert "descentcast" in rows["packages"]["detail"]
    assert "descent-small" in rows["models fetched"]["detail"]


def test_a_cache_that_cannot_be_written_and_a_wrong_limit_are_found(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("DESCENTCAST_CACHE", str(tmp_path / "file" / "cache"))
    assert by_name()["cache"]["state"] == "failed"
    monkeypatch.setenv("DESCENTCAST_CACHE", str(tmp_path))
    monkeypatch.setenv("DESCENTCAST_CACHE_MB", "much")
    row = by_name()["density store"]
    assert row["state"] == "failed"
    assert "DESCENTCAST_CACHE_MB == 'much'" in row["detail"]


def test_a_model_that_does_not_read_is_found(monkeypatch):
    monkeypatch.setattr("descentcast.densities.next_densities", lambda *a, **k: _Flat())
    assert by_name()["reading with a model"]["state"] == "failed"


class _Flat:
    probs = dc.densities.next_densities.__globals__["np"].full((7, 100), 0.01)
