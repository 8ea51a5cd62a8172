"""Numbers of entries of which some are done."""

from __future__ import annotations

from batch_implement.features.feature_list import Feature
from batch_implement.features.open_entries import number_open_features


class Counted(list):
    """A list that counts how many of its values are read."""

    def __init__(self, values):
        super().__init__(values)
        self.reads = 0

    def __iter__(self):
        for value in super().__iter__():
            self.reads += 1
            yield value

    def __getitem__(self, key):
        values = super().__getitem__(key)
        self.reads += len(values) if isinstance(key, slice) else 1
        return values


def test_numbers_count_the_open_entries_and_what_is_done_is_needed_no_more():
    features = [
        Feature("a", 1),
        Feature("c", 3, {"depends_on": ["1", "2", "x"]}),
        Feature("d", 4, {"depends_on": ["2"]}),
    ]
    numbered = number_open_features(features, [True, False, True, True])
    assert [feature.details for feature in numbered] == [{}, {"depends_on": ["1", "x"]}, {}]
    later = number_open_features([Feature("d", 4, {"depends_on": ["3"]})], [True, False, True, True])
    assert later[0].details == {"depends_on": ["2"]}


def test_each_entry_is_counted_once():
    is_open = Counted([True, False] * 1_000)
    number_open_features([Feature("a", 1)], is_open)
    assert is_open.reads <= 3 * len(is_open)
