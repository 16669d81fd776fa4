/* Files of the host, as the emulator or a debug probe offers them to a program without a system. */
#ifndef SEMIHOST_H
#define SEMIHOST_H

#include <stdint.h>

enum { READ_BINARY = 1, WRITE_BINARY = 5 };

/* A negative handle: no such file. */
int32_t host_open(const char *name, int32_t mode);
/* Bytes that could not be read. */
uint32_t host_read(int32_t file, void *to, uint32_t n_bytes);
void host_write(int32_t file, const void *from, uint32_t n_bytes);
void host_seek(int32_t file, uint32_t position);
void host_print(const char *text);
__attribute__((noreturn)) void host_exit(uint32_t code);

/* Stack bytes that were ever in use. */
uint32_t stack_high_water(void);

#endif
