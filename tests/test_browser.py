"""The browser of tests of pages finds what is wrong with a page."""

from browser import audit

PAGE = '<!DOCTYPE html><html lang="en"><head><title>a</title></head><body><main>{}</main></body>'


def test_a_good_page_has_no_problems(tmp_path, browsing):
    page = tmp_path / "ä page.html"
    page.write_text(PAGE.format("<h1>good</h1><img alt='' src='data:,'>"))
    opened = browsing.open(page, width=360, dark=True)
    assert opened.evaluate("innerWidth") == 360
    assert opened.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert audit(opened) == []


def test_errors_requests_and_bad_markup_are_found(tmp_path, browsing):
    page = tmp_path / "page.html"
    page.write_text(
        PAGE.format(
            "<h1>bad</h1><img src='other.png'><script>console.error('one'); missing()</script>"
        )
    )
    opened = browsing.open(page)
    text = "\n".join(browsing.problems)
    assert "other.png" in text
    assert "console error: one" in text
    assert "uncaught: missing" in text
    assert [each.split(":")[0] for each in audit(opened)] == ["image-alt"]
    browsing.problems.clear()


def test_webgl_is_there(tmp_path, browsing):
    page = tmp_path / "page.html"
    page.write_text(PAGE.format("<h1>drawn</h1>"))
    opened = browsing.open(page)
    assert opened.evaluate("!!document.createElement('canvas').getContext('webgl2')")
