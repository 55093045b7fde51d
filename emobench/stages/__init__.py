"""One file a DVC stage, each with ``run(params, layout)``: load, call, save."""
