from runpy import run_path
run_path(__file__.removesuffix("client/start_runtime.py") + "server/start_runtime.py", run_name="__main__")
