"""axe-core on the report and the atlas, in light, in dark and on a phone."""

import pytest

pytestmark = pytest.mark.browser
VIEWS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"width": 360, "height": 740, "has_touch": True, "is_mobile": True},
}
