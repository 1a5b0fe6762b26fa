"""IODINE (Greff et al. 2019) on TensorFlow 2 and Sonnet 2.

`iodine.list_models()` lists the trained models that come with it, and
`iodine.load_model("demo_fast")` opens one.
"""

__all__ = ["list_models", "load_model"]


def __getattr__(name):
    # Imported when they are asked for, since they import TensorFlow.
    if name in __all__:
        from iodine import loading

        return getattr(loading, name)
    raise AttributeError(f"module 'iodine' has no attribute '{name}'")
