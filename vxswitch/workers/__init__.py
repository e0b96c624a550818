"""Several processes that share the frames of one switch (docs/decisions/0005-workers.md).

messages   what the main process and a worker say to each other, as bytes
link       the socket between them
counting   a worker's counts, taken there and added here
feed       main: what changes in the tables, told to all workers
replica    worker: the tables as the main process has them
crew       main: the worker processes, from their start to their end
shared     main: the data plane that has them
worker     the worker process itself
"""
