"""A cell of a notebook that warns fails, as a test does: a learner stops at a red box that nobody explains."""

import pytest


class NotebookWarnings:
    """A plugin of pytest: conftest.py hears of tests in its own folder alone, and the notebooks lie elsewhere."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        result = yield
        for output in getattr(item, "test_outputs", None) or ():
            if output.get("name") == "stderr" and "Warning:" in output["text"]:
                pytest.fail(f"This cell warns:\n{output['text']}", pytrace=False)
        return result
