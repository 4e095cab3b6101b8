"""The way from a file of one's own to a report: a check-list that knows the data.

```python
from workshop.own_data import Journey

journey = Journey()
journey("read", population, "Four samples were assayed twice; nothing is said of a limit.")
journey                                  # as the last line of a cell: all steps, what they showed, what is open
```
"""

from workshop.own_data.journey import Journey

__all__ = ["Journey"]
