from beastack.nova.driver import BhyveDriver

__all__ = ["BhyveDriver"]
