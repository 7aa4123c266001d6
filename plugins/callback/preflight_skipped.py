"""Say in red, as the very last words of a run, which rules of the preflight were skipped: nobody scrolls up to read it."""

from __future__ import annotations

from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: preflight_skipped
type: aggregate
short_description: Skipped rules of the preflight, in red, at the end of the run
description:
  - Shows the fact C(preflight_skipped_rules), which the role preflight sets where C(preflight_skip) lets something pass.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "preflight_skipped"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rules: list[str] = []

    def v2_runner_on_ok(self, result: Any) -> None:
        """Remember what the role has set."""
        outcome = result.result if hasattr(result, "result") else result._result
        text = (outcome.get("ansible_facts") or {}).get("preflight_skipped_rules")
        if text and text not in self.rules:
            self.rules.append(str(text))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Say it."""
        for text in self.rules:
            title = "PREFLIGHT RULES SKIPPED AT YOUR WISH (preflight_skip); these do not hold:"
            self._display.display(f"{title}\n{text}", color=constants.COLOR_ERROR)
