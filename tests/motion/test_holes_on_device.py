"""The view of a moved camera for all pixels is the one by pixels in doubt, and by holes."""

from __future__ import annotations

import pytest
import torch

from deforum.errors import UserError
from deforum.models.checks import settle_checks
from deforum.motion.holes import HoleFill
from deforum.motion.pose import Lens, Pose
from deforum.motion.surface import Rigid, _see, see_on_device
from tests.helpers import motion_of
from tests.helpers.card import CARD, Card
from tests.helpers.pictures import texture

WIDTH, HEIGHT = 112, 88
MOTIONS: dict[str, dict[str, float]] = {
    "forward": {"translation_z": 20, "rotation_3d_y": 1.5},
    "sideways": {"translation_x": 30},
    "back": {"translation_z": -25, "rotation_3d_z": 3},
    "far": {"translation_x": -40, "translation_z": 60},
    "zoom": {"fov": 60, "translation_y": 12},
}


def rigid(motion: dict[str, float], fill: HoleFill = "far") -> Rigid:
    depth = 1 + 4 * texture(1, WIDTH, HEIGHT, 3)[0]
    depth[20:50, 30:80] = 1.2
    new = Lens.of(motion.get("fov", 70), 1, WIDTH, HEIGHT)
    return Rigid(depth, Pose.of(motion_of(**motion)), Lens.of(70, 1, WIDTH, HEIGHT), new, fill, nearest=0.4)


@pytest.mark.parametrize("name", MOTIONS)
@pytest.mark.parametrize("fill", ["far", "stretch"])
def test_the_same_view(name: str, fill: HoleFill) -> None:
    motion = rigid(MOTIONS[name], fill)
    expected, found = _see(motion), see_on_device(motion)
    assert int(expected.hole.sum()) > 100 and torch.equal(found.hole, expected.hole)
    assert float((found.source - expected.source).abs().max()) < 1e-3  # px
    assert torch.equal(found.inverse_depth, expected.inverse_depth)


def test_a_camera_past_everything() -> None:
    """It is found on the card, and told with the next reading."""
    motion = rigid({"translation_z": 2000})
    with pytest.raises(UserError, match="moves past everything"):
        _see(motion)
    with Card() as card:
        see_on_device(Rigid(motion.depth.to(CARD), motion.pose, motion.old, motion.new, "far", nearest=0.4))
        assert len(card.waits) == 1  # the depth's way to the card
        with pytest.raises(UserError, match="moves past everything"):
            settle_checks()
