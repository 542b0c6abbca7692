"""The live page: ``ztxexp ui`` serves the report of a results root on this machine.

:mod:`.guard` decides who is answered, :mod:`.app` has the routes, :mod:`.reader` reads the root,
:mod:`.events` tells what has changed, :mod:`.files` gives out files of runs, :mod:`.actions` stops
and tags runs, :mod:`.serving` starts and ends it all. Starlette and uvicorn are the extra ``ui``.
"""
