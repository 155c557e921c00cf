from __future__ import annotations

import lzma
from pathlib import Path

import pytest
from artifact_torch_table_comparison.data import PORTAL, portal_path
from artifact_torch_table_comparison.reading import read_csv


def test_the_portal_table_has_its_published_size_and_missing_shares() -> None:
    frame = read_csv(portal_path()).frame
    assert frame.shape == (35_549, 12)
    shares = 100 * frame.isna().mean()
    for name in ("species_id", "genus", "species", "taxa"):
        assert shares[name] == pytest.approx(2.15, abs=0.01)
    assert shares["sex"] == pytest.approx(7.1, abs=0.1)
    assert shares["hindfoot_length"] == pytest.approx(11.6, abs=0.1)
    assert shares["weight"] == pytest.approx(9.2, abs=0.1)
    assert shares.drop(["species_id", "genus", "species", "taxa", "sex", "hindfoot_length", "weight"]).eq(0).all()


def test_the_portal_table_is_read_without_warnings_as_whole_numbers_and_labels() -> None:
    table = read_csv(portal_path())
    assert table.warnings == ()
    kinds = {column.name: column.kind for column in table.schema.columns}
    assert [name for name, kind in kinds.items() if kind == "integer"] == ["month", "day", "year", "plot_id"]
    assert [name for name, kind in kinds.items() if kind == "float"] == ["hindfoot_length", "weight"]
    assert set(kinds.values()) == {"integer", "float", "category"}
    assert {column.decimals for column in table.schema.columns if column.kind == "float"} == {0}


def test_the_portal_table_is_written_back_byte_for_byte(tmp_path: Path) -> None:
    table = read_csv(portal_path())
    table.schema.write_csv(table.frame, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == lzma.decompress(portal_path().read_bytes())


def test_the_portal_table_names_its_source_and_licence() -> None:
    source = portal_path().with_name("SOURCE.md").read_text()
    assert portal_path().name == PORTAL
    assert "CC0 1.0" in source
    assert "10.6084/m9.figshare.1314459" in source
