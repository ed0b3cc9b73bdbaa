"""Scene graphs in a policy: which thing does the sentence mean, and where is it in the views?"""

from vla3d.policies.grounding.config import GraphRouteConfig

__all__ = ["GraphRouteConfig"]
