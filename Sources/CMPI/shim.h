// Open MPI, as Debian's libopenmpi-dev installs it. MPI's handles are macros, which Swift cannot see: here are the five
// calls that Incipit makes, each returning MPI's code (0: success). No policy.
#pragma once

#include <mpi.h>

/// Calls come from one thread at a time, but not always the same one.
static inline int cmpi_init(void) {
    int provided = 0;
    int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
    return code != MPI_SUCCESS ? code : provided < MPI_THREAD_SERIALIZED ? MPI_ERR_OTHER : MPI_SUCCESS;
}

static inline int cmpi_rank(int *rank) { return MPI_Comm_rank(MPI_COMM_WORLD, rank); }

static inline int cmpi_size(int *size) { return MPI_Comm_size(MPI_COMM_WORLD, size); }

/// `count` bytes of every process, in the order of the ranks, into `all`.
static inline int cmpi_allgather(const void *own, void *all, int count) {
    return MPI_Allgather(own, count, MPI_BYTE, all, count, MPI_BYTE, MPI_COMM_WORLD);
}

/// `count` bytes of process 0 into everyone's `bytes`.
static inline int cmpi_broadcast(void *bytes, int count) {
    return MPI_Bcast(bytes, count, MPI_BYTE, 0, MPI_COMM_WORLD);
}

static inline int cmpi_finalize(void) { return MPI_Finalize(); }
