"""llama.cpp through its C interface, for the measurements of this folder."""

import ctypes

import llama_cpp as api

quiet = api.llama_log_callback(lambda level, text, data: None)


def load(path):
    """The model in that file, without llama.cpp's log."""
    api.llama_log_set(quiet, ctypes.c_void_p(0))
    api.llama_backend_init()
    model = api.llama_model_load_from_file(path.encode(), api.llama_model_default_params())
    if not model:
        raise SystemExit(f"llama.cpp does not load {path}")
    return model


def context(model, settings):
    made = api.llama_init_from_model(model, settings)
    if not made:
        raise SystemExit("llama.cpp makes no context")
    return made
