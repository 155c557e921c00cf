"""Event files have the checksums that TensorBoard computes."""

from __future__ import annotations

from artifact_torch_tensorboard.checksum import masked_crc32c
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c as expected


@given(st.binary(max_size=100), st.integers(0, 200))
def test_it_is_that_of_tensorboard_for_short_and_long_content(part: bytes, times: int) -> None:
    assert masked_crc32c(part * times) == expected(part * times)


@given(st.binary(min_size=1, max_size=20), st.integers(8190, 8450))
def test_it_is_that_of_tensorboard_where_rows_begin(part: bytes, size: int) -> None:
    content = (part * size)[:size]
    assert masked_crc32c(content) == expected(content)
