// What this machine can do at most, to hold the engine's speed against.
#ifndef INCIPIT_LIMITS_H
#define INCIPIT_LIMITS_H

/// Products and sums of bytes a second, in 10^9 operations (a multiplication and an addition count as two), from
/// registers alone with the widest instructions there are. 0 where none is known.
double limits_int8_gops(int threads);
/// Reading of memory in 10^9 bytes a second: the sum of a buffer of so many bytes, each thread its own part.
double limits_read_gigabytes(int threads, unsigned long bytes);

#endif
