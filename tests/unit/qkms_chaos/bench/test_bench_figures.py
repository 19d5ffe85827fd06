"""Percentiles, summaries and medians of the benchmarks."""

import pytest

from qkms_chaos.bench.figures import Load, Spread, load_of, median_load, percentile, spread_of


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (95, 95), (99, 99), (99.5, 100), (100, 100)]
)
def test_percentile_is_the_nearest_rank(percent: float, expected: int) -> None:
    assert percentile(range(1, 101), percent) == expected


def test_percentile_of_few_values_is_one_of_them() -> None:
    assert [percentile([1.0, 2.0, 3.0], percent) for percent in (33, 34, 66, 67, 99)] == [1, 2, 2, 3, 3]


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], -1), ([1.0], 101)])
def test_percentile_refuses_what_has_none(values: list[float], percent: float) -> None:
    with pytest.raises(ValueError, match="percent"):
        percentile(values, percent)


def test_load_counts_answers_per_second_and_orders_latencies() -> None:
    latencies = [number / 1000 for number in range(100, 0, -1)]
    assert load_of(latencies, 0.5) == Load(200, 50, 95, 99)


def test_spread_keeps_the_worst() -> None:
    assert spread_of([0.3, 0.1, 0.2]) == Spread(3, 200, 300, 300)


def test_median_is_taken_of_each_figure() -> None:
    loads = [Load(1, 30, 200, 3000), Load(3, 10, 300, 1000), Load(2, 20, 100, 2000)]
    assert median_load(loads) == Load(2, 20, 200, 2000)
