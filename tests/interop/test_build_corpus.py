# SPDX-License-Identifier: Apache-2.0
"""Every Dockerfile of the corpus built by gantry, beside what Debian's dockerd made of it."""
import json

import pytest
from build_corpus import CORPUS, RECORDED, files_of, made
from harness.places import IMAGE, SOAK


@pytest.fixture(scope='module')
def recorded():
    return json.loads(RECORDED.read_text())


@pytest.fixture(scope='module')
def base(stack):
    return files_of(stack, IMAGE)


@pytest.mark.parametrize('name', CORPUS)
def test_like_docker(stack, base, recorded, name):
    assert made(stack, name, base) == recorded[name]


@pytest.mark.skipif(not SOAK, reason='the record was made by it')
def test_the_record_is_true(peer, recorded):
    base = files_of(peer, IMAGE)
    assert {name: made(peer, name, base) for name in CORPUS} == recorded
