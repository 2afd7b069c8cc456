"""Messages are one line, whatever a damaged file puts into them."""

import pytest

from mwaconvert.errors import FormatError, InputError
from mwaconvert.vocabulary.job_file import JobFileError, read_job_file


@pytest.mark.parametrize("found", ["a\nb", "a\r\nb", "a\x0bb", "a\x85b", "a\u2028b"])
def test_words_of_a_file_do_not_break_the_line(found):
    assert str(FormatError(f"x.fits: found {found}")) == "x.fits: found a b"
    assert str(FormatError("x.fits: two\n\n   lines\n")) == "x.fits: two lines"


def test_a_list_of_problems_keeps_its_lines(tmp_path):
    path = tmp_path / "jobs.csv"
    path.write_text("obs_id=1, job_type=c\nobs_id=2, job_type=x\n")
    with pytest.raises(JobFileError) as caught:
        read_job_file(path)
    assert isinstance(caught.value, InputError)
    assert len(str(caught.value).splitlines()) == 1 + len(caught.value.problems)
