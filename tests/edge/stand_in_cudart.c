/* libcudart.so for tests: device memory is the process's own, copies to it happen at once, copies from it when they are waited for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUT_OF_MEMORY = 2, NO_DEVICE = 100, LAUNCH_FAILURE = 719, MOST = 64 };
static struct { void *to; const void *from; size_t size; } queue[MOST];
static int queued, live;

static const char *said(const char *name, const char *otherwise) { return getenv(name) ? getenv(name) : otherwise; }
static int fails(const char *function) { return !strcmp(said("STAND_IN_CUDA_FAILS", ""), function); }

int stand_in_live(void) { return live; }

const char *cudaGetErrorString(int code) {
    return code == OUT_OF_MEMORY ? "out of memory" : code == NO_DEVICE ? "no CUDA-capable device is detected" : "unspecified launch failure";
}
int cudaGetDeviceCount(int *count) {
    *count = atoi(said("STAND_IN_DEVICES", "1"));
    return *count ? 0 : NO_DEVICE;
}
int cudaGetDeviceProperties(void *properties, int device) {
    snprintf(properties, 256, "%s", said("STAND_IN_GPU", "Orin"));
    return device;
}
int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    const char *capability = said("STAND_IN_CAPABILITY", "8.7");
    if (attribute == 18) *value = atoi(said("STAND_IN_INTEGRATED", "0"));
    else if (attribute == 75) *value = atoi(capability);
    else if (attribute == 76) *value = atoi(strchr(capability, '.') + 1);
    else return 1;
    return device;
}
int cudaDriverGetVersion(int *version) { *version = 12060; return 0; }
int cudaRuntimeGetVersion(int *version) { *version = 12020; return 0; }
int cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    *free_bytes = strtoull(said("STAND_IN_FREE", "64000000000"), NULL, 10);
    *total = 64000000000ull;
    return 0;
}
int cudaMalloc(void **address, size_t size) {
    if (fails("cudaMalloc") || !(*address = malloc(size))) return OUT_OF_MEMORY;
    live++;
    return 0;
}
int cudaFree(void *address) { free(address); live--; return 0; }
int cudaStreamCreate(void **stream) { *stream = malloc(1); live++; return 0; }
int cudaStreamDestroy(void *stream) { free(stream); live--; queued = 0; return 0; }
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    if (!stream || fails("cudaMemcpyAsync") || queued == MOST) return LAUNCH_FAILURE;
    if (kind == 1) memcpy(to, from, size);
    else { queue[queued].to = to; queue[queued].from = from; queue[queued++].size = size; }
    return 0;
}
int cudaStreamSynchronize(void *stream) {
    if (!stream || fails("cudaStreamSynchronize")) return LAUNCH_FAILURE;
    while (queued) { queued--; memcpy(queue[queued].to, queue[queued].from, queue[queued].size); }
    return 0;
}
