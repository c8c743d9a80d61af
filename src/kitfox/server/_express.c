/* An HTTP filter of Envoy's that hands small requests to Python whole, and takes whole answers.
 *
 * pyvoy serves any ASGI application: it brings a request and its body to Python separately, and each
 * message of the answer back. A small call without streams needs none of that, and costs a third of
 * the time without. So this filter, in front of pyvoy's, holds such a request until all of it is
 * there, queues it, and sends the answer when Python has one. What it does not hold, and what Python
 * gives back, goes on to pyvoy as if there were no such filter.
 *
 * One library is both Envoy's dynamic module and Python's extension module, so they share the queue.
 * The declarations of Envoy's functions follow its dynamic modules' ABI v0.1.0 (Envoy 1.39).
 *
 * Threads: Envoy calls the hooks of a request in its worker's thread alone. Python's threads see a
 * request from the time that it is in the queue, and write its answer before they commit to the
 * request's scheduler, which has Envoy call `scheduled` in the worker's thread; that orders them. A
 * request is freed by whoever has done with it last. `lock` is for the queue and what is beside it.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <structmember.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* -- Envoy's side of the ABI */

typedef struct {
    const char *text;
    size_t length;
} Text;

typedef struct {
    Text name;
    Text value;
} Header;

enum { REQUEST_HEADERS = 0 };
enum { RECEIVED_REQUEST_BODY = 0, BUFFERED_REQUEST_BODY = 1 };
enum { HEADERS_GO_ON = 0, HEADERS_WAIT = 1 };
enum { BODY_GOES_ON = 0, BODY_WAITS = 2 }; /* not 1: then more than a buffer would be refused */
enum { GOES_ON = 0 };

#define ENVOY(name) envoy_dynamic_module_callback_http_##name
#define HOOK(name) envoy_dynamic_module_on_http_filter_##name

extern void *ENVOY(filter_scheduler_new)(void *filter);
extern void ENVOY(filter_scheduler_delete)(void *scheduler);
extern void ENVOY(filter_scheduler_commit)(void *scheduler, uint64_t event);
extern void ENVOY(filter_continue_decoding)(void *filter);
extern size_t ENVOY(get_headers_size)(void *filter, int kind);
extern bool ENVOY(get_headers)(void *filter, int kind, Header *found);
extern bool ENVOY(set_header)(void *filter, int kind, Text name, Text value);
extern size_t ENVOY(get_body_size)(void *filter, int kind);
extern size_t ENVOY(get_body_chunks_size)(void *filter, int kind);
extern bool ENVOY(get_body_chunks)(void *filter, int kind, Text *found);
extern void ENVOY(send_response_headers)(void *filter, Header *headers, size_t count, bool end);
extern void ENVOY(send_response_data)(void *filter, Text data, bool end);
extern void ENVOY(send_response_trailers)(void *filter, Header *trailers, size_t count);

/* -- what is held */

enum { MOST_HEADERS = 64, MOST_ANSWER_HEADERS = 64 };

/* What a request may be that is held. Made once, when Python begins to take requests. */
typedef struct {
    size_t slots; /* a power of two */
    Text *paths;  /* by their hash */
    size_t names;
    Text *refused; /* names of headers */
    size_t most;   /* bytes of a body */
} Rules;

static _Atomic(Rules *) rules;

/* What is sent back. One block of memory with the texts behind it. */
typedef struct {
    size_t headers;
    size_t trailers;
    Header header[MOST_ANSWER_HEADERS];
    Header trailer[MOST_ANSWER_HEADERS];
    Text body;
    char status[4];
    char texts[];
} Answer;

enum State {
    FREE,  /* pyvoy's: as if there were no such filter */
    HELD,  /* until its body is there, for a moment */
    TAKEN, /* in the queue, or with Python */
    OVER   /* answered, or its client is gone */
};

enum { TOO_LATE, ANSWERED };

/* Many clients send headers and body one after the other. One that takes longer is pyvoy's to wait for. */
static const int64_t PATIENCE = 50 * 1000 * 1000; /* nanoseconds */

typedef struct Request {
    atomic_int owners;
    enum State state; /* for Envoy's thread */
    atomic_bool gone;
    void *scheduler;
    struct Request *next, *previous; /* in the queue, or among those that wait */
    bool waits;                      /* for its body, in that list */
    int64_t until;

    size_t count;
    Header *headers; /* one block with their texts behind them */
    Text path;
    char *body;
    size_t body_length;

    Answer *answer; /* none: it goes on to pyvoy, with the header `mark` if that has a name */
    Header mark;
    char *mark_texts;
} Request;

static void disown(Request *request) {
    if (atomic_fetch_sub(&request->owners, 1) > 1)
        return;
    if (request->scheduler)
        ENVOY(filter_scheduler_delete)(request->scheduler);
    free(request->headers);
    free(request->body);
    free(request->answer);
    free(request->mark_texts);
    free(request);
}

/* -- the queue, and the requests that wait for their bodies */

typedef struct {
    Request *first, *last;
} List;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static List queue, waiting; /* those that have waited longest are first */
static bool is_open;
static bool is_waited_for; /* by the thread that takes requests, */
static bool for_ever;      /* without an end */
static bool is_quiet;      /* nothing has come since it looked */

__attribute__((constructor)) static void make_condition(void) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
#ifndef __APPLE__
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
#endif
    pthread_cond_init(&changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* Waits for a change for as long as a request may wait; with `lock`. Requests that are to wait tell
 * of themselves only where nobody would look: while there is traffic, this looks anyway. */
static void wait_for_change(void) {
    is_waited_for = true;
    if (is_quiet) {
        for_ever = true;
        pthread_cond_wait(&changed, &lock);
        for_ever = false;
    } else {
        is_quiet = !waiting.first;
#ifdef __APPLE__
        struct timespec time = {0, PATIENCE};
        pthread_cond_timedwait_relative_np(&changed, &lock, &time);
#else
        int64_t until = now() + PATIENCE;
        struct timespec time = {until / 1000000000, until % 1000000000};
        pthread_cond_timedwait(&changed, &lock, &time);
#endif
    }
    is_waited_for = false;
}

/* These two with `lock`. */
static void append(List *list, Request *request) {
    request->next = NULL;
    request->previous = list->last;
    if (list->last)
        list->last->next = request;
    else
        list->first = request;
    list->last = request;
    is_quiet = false;
}

static void wait_no_more(Request *request) {
    if (!request->waits)
        return;
    request->waits = false;
    if (request->previous)
        request->previous->next = request->next;
    else
        waiting.first = request->next;
    if (request->next)
        request->next->previous = request->previous;
    else
        waiting.last = request->previous;
}

/* Sees to it that a request does not wait for its body for long; false if nobody takes requests. */
static bool let_wait(Request *request) {
    request->until = now() + PATIENCE;
    pthread_mutex_lock(&lock);
    bool taken = is_open;
    if (taken) {
        append(&waiting, request);
        request->waits = true;
        if (for_ever)
            pthread_cond_signal(&changed);
    }
    pthread_mutex_unlock(&lock);
    return taken;
}

/* What is copied of a request is not kept as long as its answer takes. */
static void forget(Request *request) {
    free(request->headers);
    free(request->body);
    request->headers = NULL;
    request->body = NULL;
}

/* A request goes on to pyvoy, or is over. */
static void leave(Request *request, enum State state) {
    if (request->state == HELD) {
        pthread_mutex_lock(&lock);
        wait_no_more(request);
        pthread_mutex_unlock(&lock);
        forget(request);
    }
    request->state = state;
}

/* Queues a request, all of which is there; false if nobody takes requests. */
static bool put(Request *request) {
    pthread_mutex_lock(&lock);
    wait_no_more(request);
    bool taken = is_open;
    if (taken) {
        atomic_fetch_add(&request->owners, 1);
        append(&queue, request);
        if (is_waited_for)
            pthread_cond_signal(&changed);
    }
    pthread_mutex_unlock(&lock);
    return taken;
}

/* Has those go on that have waited long enough; all, once nobody takes requests. With `lock`, which
 * keeps them from being freed meanwhile. */
static void send_on_the_late(void) {
    int64_t time = waiting.first ? now() : 0;
    while (waiting.first && (!is_open || waiting.first->until <= time)) {
        Request *request = waiting.first;
        wait_no_more(request);
        ENVOY(filter_scheduler_commit)(request->scheduler, TOO_LATE);
    }
}

/* All that is queued; if `wait`, not before there is something, or nobody takes requests any more. */
static Request *take_all(bool wait, bool *closed) {
    pthread_mutex_lock(&lock);
    send_on_the_late();
    while (wait && is_open && !queue.first) {
        wait_for_change();
        send_on_the_late();
    }
    Request *all = queue.first;
    queue.first = queue.last = NULL;
    *closed = !is_open;
    pthread_mutex_unlock(&lock);
    return all;
}

static void let_go_on(Request *request) { ENVOY(filter_scheduler_commit)(request->scheduler, ANSWERED); }

/* -- Envoy's hooks */

static bool same(Text one, Text other) {
    return one.length == other.length && !memcmp(one.text, other.text, one.length);
}

static size_t hash(Text text) { /* FNV-1a */
    uint64_t value = 14695981039346656037u;
    for (size_t i = 0; i < text.length; i++)
        value = (value ^ (unsigned char)text.text[i]) * 1099511628211u;
    return value;
}

static bool has_path(const Rules *held, Text path) {
    for (size_t at = hash(path);; at++) {
        Text *slot = held->paths + (at & (held->slots - 1));
        if (!slot->text)
            return false;
        if (same(*slot, path))
            return true;
    }
}

static bool is_refused(const Rules *held, Text name) {
    for (size_t i = 0; i < held->names; i++)
        if (same(held->refused[i], name))
            return true;
    return false;
}

#define TEXT(literal) ((Text){literal, sizeof(literal) - 1})

/* Keeps the headers of a request that is of the kind that may be held; whether it is. */
static bool read_headers(Request *request, const Rules *held, void *filter) {
    Header found[MOST_HEADERS];
    size_t count = ENVOY(get_headers_size)(filter, REQUEST_HEADERS), size = 0, kept = 0;
    bool is_post = false, is_known = false;
    if (count > MOST_HEADERS || !ENVOY(get_headers)(filter, REQUEST_HEADERS, found))
        return false;
    for (size_t i = 0; i < count; i++) {
        Header *header = found + i;
        if (header->name.length && *header->name.text == ':') {
            if (same(header->name, TEXT(":method")))
                is_post = same(header->value, TEXT("POST"));
            else if (same(header->name, TEXT(":path")))
                is_known = has_path(held, header->value);
        } else if (is_refused(held, header->name))
            return false;
        size += header->name.length + header->value.length;
    }
    if (!is_post || !is_known)
        return false;
    request->headers = malloc(count * sizeof(Header) + size);
    if (!request->headers)
        return false;
    char *end = (char *)(request->headers + count);
    for (size_t i = 0; i < count; i++) {
        Text name = found[i].name, value = found[i].value;
        bool is_pseudo = name.length && *name.text == ':';
        if (is_pseudo && same(name, TEXT(":authority")))
            name = TEXT("host"); /* as ASGI has it */
        else if (is_pseudo && !same(name, TEXT(":path")))
            continue;
        Header *header = request->headers + kept;
        memcpy(end, name.text, name.length);
        header->name = (Text){end, name.length};
        end += name.length;
        memcpy(end, value.text, value.length);
        header->value = (Text){end, value.length};
        end += value.length;
        if (is_pseudo && *name.text == ':')
            request->path = header->value;
        else
            kept++;
    }
    request->count = kept;
    return true;
}

static size_t copy_body(void *filter, int kind, char *to) {
    size_t count = ENVOY(get_body_chunks_size)(filter, kind), size = 0;
    Text *chunks = count ? malloc(count * sizeof(Text)) : NULL;
    if (chunks && ENVOY(get_body_chunks)(filter, kind, chunks))
        for (size_t i = 0; i < count; i++) {
            memcpy(to + size, chunks[i].text, chunks[i].length);
            size += chunks[i].length;
        }
    free(chunks);
    return size;
}

static bool read_body(Request *request, void *filter) {
    size_t before = ENVOY(get_body_size)(filter, BUFFERED_REQUEST_BODY);
    size_t size = before + ENVOY(get_body_size)(filter, RECEIVED_REQUEST_BODY);
    request->body = malloc(size ? size : 1);
    if (!request->body)
        return false;
    size_t copied = copy_body(filter, BUFFERED_REQUEST_BODY, request->body);
    copied += copy_body(filter, RECEIVED_REQUEST_BODY, request->body + copied);
    request->body_length = copied;
    return copied == size;
}

const char *envoy_dynamic_module_on_program_init(void) { return "v0.1.0"; }

/* Envoy takes a null pointer for a failure. */
static const char something;

const void *HOOK(config_new)(void *config, Text name, Text value) {
    (void)config, (void)name, (void)value;
    return &something;
}

void HOOK(config_destroy)(const void *config) { (void)config; }

const void *HOOK(new)(const void *config, void *filter) {
    (void)config, (void)filter;
    Request *request = calloc(1, sizeof(Request));
    if (!request)
        abort(); /* as Envoy does without memory; it does not look at what this returns */
    atomic_init(&request->owners, 1);
    return request;
}

void HOOK(destroy)(const void *module) {
    Request *request = (Request *)module;
    leave(request, OVER);
    atomic_store(&request->gone, true);
    disown(request);
}

int HOOK(request_headers)(void *filter, const void *module, bool end) {
    Request *request = (Request *)module;
    Rules *held = atomic_load(&rules);
    if (end || !held || !read_headers(request, held, filter))
        return HEADERS_GO_ON;
    request->scheduler = ENVOY(filter_scheduler_new)(filter);
    if (!request->scheduler || !let_wait(request)) {
        forget(request);
        return HEADERS_GO_ON;
    }
    request->state = HELD;
    return HEADERS_WAIT;
}

int HOOK(request_body)(void *filter, const void *module, bool end) {
    Request *request = (Request *)module;
    if (request->state == TAKEN)
        return BODY_WAITS;
    if (request->state != HELD)
        return BODY_GOES_ON;
    Rules *held = atomic_load(&rules);
    size_t size = ENVOY(get_body_size)(filter, BUFFERED_REQUEST_BODY) +
                  ENVOY(get_body_size)(filter, RECEIVED_REQUEST_BODY);
    if (held && size <= held->most) {
        if (!end)
            return BODY_WAITS;
        if (read_body(request, filter) && put(request)) {
            request->state = TAKEN;
            return BODY_WAITS;
        }
    }
    leave(request, FREE);
    return BODY_GOES_ON;
}

int HOOK(request_trailers)(void *filter, const void *module) {
    (void)filter;
    Request *request = (Request *)module;
    if (request->state == HELD)
        leave(request, FREE);
    return GOES_ON;
}

void HOOK(scheduled)(void *filter, const void *module, uint64_t event) {
    Request *request = (Request *)module;
    if (event == TOO_LATE && request->state == HELD) {
        leave(request, FREE);
        ENVOY(filter_continue_decoding)(filter);
    }
    if (event != ANSWERED || request->state != TAKEN)
        return;
    Answer *answer = request->answer;
    if (!answer) {
        request->state = FREE;
        if (request->mark_texts)
            ENVOY(set_header)(filter, REQUEST_HEADERS, request->mark.name, request->mark.value);
        ENVOY(filter_continue_decoding)(filter);
        return;
    }
    request->state = OVER;
    /* The end of the answer may be the end of the filter. */
    atomic_fetch_add(&request->owners, 1);
    ENVOY(send_response_headers)(filter, answer->header, answer->headers, false);
    ENVOY(send_response_data)(filter, answer->body, !answer->trailers);
    if (answer->trailers)
        ENVOY(send_response_trailers)(filter, answer->trailer, answer->trailers);
    free(answer);
    request->answer = NULL;
    disown(request);
}

/* Envoy's own refusals, such as of a request that has been idle for too long. */
int HOOK(local_reply)(void *filter, const void *module, uint32_t status, Text details, bool reset) {
    (void)filter, (void)status, (void)details, (void)reset;
    Request *request = (Request *)module;
    if (request->state == HELD || request->state == TAKEN)
        leave(request, OVER);
    return GOES_ON;
}

void HOOK(stream_complete)(void *filter, const void *module) {
    (void)filter;
    Request *request = (Request *)module;
    leave(request, OVER);
    atomic_store(&request->gone, true);
}

int HOOK(response_headers)(void *filter, const void *module, bool end) {
    (void)filter, (void)module, (void)end;
    return GOES_ON;
}

int HOOK(response_body)(void *filter, const void *module, bool end) {
    (void)filter, (void)module, (void)end;
    return GOES_ON;
}

int HOOK(response_trailers)(void *filter, const void *module) {
    (void)filter, (void)module;
    return GOES_ON;
}

/* Envoy wants these to exist, and calls none of them: nothing here asks for them. */
const void *HOOK(per_route_config_new)(Text name, Text value) {
    (void)name, (void)value;
    return &something;
}
void HOOK(per_route_config_destroy)(const void *config) { (void)config; }
void HOOK(config_scheduled)(void) {}
void HOOK(config_http_callout_done)(void) {}
void HOOK(config_http_stream_headers)(void) {}
void HOOK(config_http_stream_data)(void) {}
void HOOK(config_http_stream_trailers)(void) {}
void HOOK(config_http_stream_complete)(void) {}
void HOOK(config_http_stream_reset)(void) {}
void HOOK(http_callout_done)(void) {}
void HOOK(http_stream_headers)(void) {}
void HOOK(http_stream_data)(void) {}
void HOOK(http_stream_trailers)(void) {}
void HOOK(http_stream_complete)(void) {}
void HOOK(http_stream_reset)(void) {}
void HOOK(downstream_above_write_buffer_high_watermark)(void *filter, const void *module) {
    (void)filter, (void)module;
}
void HOOK(downstream_below_write_buffer_low_watermark)(void *filter, const void *module) {
    (void)filter, (void)module;
}

/* -- Python's type of a request */

typedef struct {
    PyObject_HEAD
    Request *request; /* none once it has been answered or given back */
    Request *kept;    /* the same, as long as this object is there */
    PyObject *path;
    PyObject *headers;
    PyObject *by_name;
    PyObject *body;
    Py_ssize_t size;
} Held;

static PyTypeObject *held_type;
static PyObject *word_status, *word_headers, *word_body;

static PyObject *bytes_of(Text text) { return PyBytes_FromStringAndSize(text.text, text.length); }

/* Makes the object of a request, which it owns; if that fails, NULL, and the request goes on. */
static PyObject *held_new(Request *request) {
    Held *self = (Held *)PyType_GenericAlloc(held_type, 0);
    if (!self) {
        let_go_on(request);
        disown(request);
        return NULL;
    }
    self->request = self->kept = request;
    self->path = PyUnicode_DecodeLatin1(request->path.text, request->path.length, NULL);
    self->body = PyBytes_FromStringAndSize(request->body, request->body_length);
    self->headers = PyList_New(request->count);
    self->by_name = PyDict_New();
    self->size = request->path.length;
    if (!self->path || !self->body || !self->headers || !self->by_name)
        goto failed;
    for (size_t i = 0; i < request->count; i++) {
        Header *header = request->headers + i;
        PyObject *name = bytes_of(header->name), *value = bytes_of(header->value);
        PyObject *pair = name && value ? PyTuple_Pack(2, name, value) : NULL;
        bool failed = !pair || PyDict_SetItem(self->by_name, name, value);
        Py_XDECREF(name);
        Py_XDECREF(value);
        if (pair)
            PyList_SetItem(self->headers, i, pair);
        if (failed)
            goto failed;
        self->size += header->name.length + header->value.length;
    }
    forget(request); /* Envoy's thread looks at neither, once it has been queued */
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

static void held_dealloc(Held *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    if (self->request)
        let_go_on(self->request);
    if (self->kept)
        disown(self->kept);
    Py_XDECREF(self->path);
    Py_XDECREF(self->headers);
    Py_XDECREF(self->by_name);
    Py_XDECREF(self->body);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* Adds the headers of an ASGI message to those of an answer, as far as `texts` is not NULL; the
 * bytes that their texts need, or -1 with an exception. */
static Py_ssize_t add_headers(PyObject *message, Header *to, size_t *count, char *texts) {
    PyObject *headers = PyDict_GetItemWithError(message, word_headers);
    Py_ssize_t size = 0, length = headers && PyList_Check(headers) ? PyList_Size(headers) : -1;
    if (length < 0 || *count + length > MOST_ANSWER_HEADERS) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_ValueError, "expected a list of at most %d headers", MOST_ANSWER_HEADERS);
        return -1;
    }
    for (Py_ssize_t i = 0; i < length; i++) {
        PyObject *pair = PyList_GetItem(headers, i);
        PyObject *part[2] = {NULL, NULL};
        Text text[2];
        if (PyTuple_Check(pair) && PyTuple_Size(pair) == 2)
            part[0] = PyTuple_GetItem(pair, 0), part[1] = PyTuple_GetItem(pair, 1);
        for (int side = 0; side < 2; side++) {
            char *start;
            Py_ssize_t bytes;
            if (!part[side] || PyBytes_AsStringAndSize(part[side], &start, &bytes)) {
                if (!PyErr_Occurred())
                    PyErr_SetString(PyExc_TypeError, "a header is a pair of bytes");
                return -1;
            }
            text[side] = (Text){start, bytes};
            if (texts) {
                text[side].text = memcpy(texts + size, start, bytes);
                if (side)
                    to[*count] = (Header){text[0], text[1]};
            }
            size += bytes;
        }
        if (texts)
            ++*count;
    }
    return size;
}

static PyObject *held_answer(Held *self, PyObject *messages) {
    Py_ssize_t count = PyTuple_Check(messages) ? PyTuple_Size(messages) : 0;
    if (!self->request || count < 2 || count > 3) {
        PyErr_SetString(self->request ? PyExc_TypeError : PyExc_RuntimeError,
                        self->request ? "expected a tuple of two or three ASGI messages"
                                      : "this request has been answered or given back");
        return NULL;
    }
    PyObject *start = PyTuple_GetItem(messages, 0);
    PyObject *rest = count > 2 ? PyTuple_GetItem(messages, 2) : NULL;
    PyObject *status = PyDict_GetItemWithError(start, word_status);
    PyObject *body = PyDict_GetItemWithError(PyTuple_GetItem(messages, 1), word_body);
    char *data;
    Py_ssize_t length;
    if (!status || !body || PyBytes_AsStringAndSize(body, &data, &length)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "expected an ASGI message with a status, then one with a body");
        return NULL;
    }
    long code = PyLong_AsLong(status);
    size_t none = 1, nothing = 0;
    Py_ssize_t head = add_headers(start, NULL, &none, NULL);
    Py_ssize_t tail = head >= 0 && rest ? add_headers(rest, NULL, &nothing, NULL) : 0;
    if (head < 0 || tail < 0)
        return NULL;
    if (code < 200 || code > 599) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_ValueError, "%ld is no status of an answer", code);
        return NULL;
    }
    Answer *answer = malloc(sizeof(Answer) + head + tail + length);
    if (!answer)
        return PyErr_NoMemory();
    snprintf(answer->status, sizeof answer->status, "%d", (int)(code % 1000));
    answer->header[0] = (Header){TEXT(":status"), {answer->status, 3}};
    answer->headers = 1;
    answer->trailers = 0;
    add_headers(start, answer->header, &answer->headers, answer->texts);
    if (rest)
        add_headers(rest, answer->trailer, &answer->trailers, answer->texts + head);
    answer->body = (Text){memcpy(answer->texts + head + tail, data, length), length};
    self->request->answer = answer;
    let_go_on(self->request);
    self->request = NULL;
    Py_RETURN_NONE;
}

static PyObject *held_give_back(Held *self, PyObject *mark) {
    Text name = {NULL, 0}, value = {NULL, 0};
    Py_ssize_t names = 0, values = 0;
    if (!PyArg_ParseTuple(mark, "|y#y#", &name.text, &names, &value.text, &values))
        return NULL;
    if (!self->request) {
        PyErr_SetString(PyExc_RuntimeError, "this request has been answered or given back");
        return NULL;
    }
    if (names) {
        char *texts = malloc(names + values);
        if (!texts)
            return PyErr_NoMemory();
        memcpy(texts, name.text, names);
        if (values)
            memcpy(texts + names, value.text, values);
        self->request->mark = (Header){{texts, names}, {texts + names, values}};
        self->request->mark_texts = texts;
    }
    let_go_on(self->request);
    self->request = NULL;
    Py_RETURN_NONE;
}

static PyObject *held_gone(Held *self, void *closure) {
    (void)closure;
    return PyBool_FromLong(atomic_load(&self->kept->gone));
}

static PyMethodDef held_methods[] = {
    {"answer", (PyCFunction)held_answer, METH_O, NULL},
    {"give_back", (PyCFunction)held_give_back, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL}};

static PyMemberDef held_members[] = {
    {"path", T_OBJECT_EX, offsetof(Held, path), READONLY, NULL},
    {"headers", T_OBJECT_EX, offsetof(Held, headers), READONLY, NULL},
    {"by_name", T_OBJECT_EX, offsetof(Held, by_name), READONLY, NULL},
    {"body", T_OBJECT_EX, offsetof(Held, body), READONLY, NULL},
    {"size", T_PYSSIZET, offsetof(Held, size), READONLY, NULL},
    {NULL, 0, 0, 0, NULL}};

static PyGetSetDef held_getters[] = {{"gone", (getter)held_gone, NULL, NULL, NULL},
                                     {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot held_slots[] = {{Py_tp_dealloc, held_dealloc},
                                   {Py_tp_methods, held_methods},
                                   {Py_tp_members, held_members},
                                   {Py_tp_getset, held_getters},
                                   {0, NULL}};

static PyType_Spec held_spec = {"kitfox.server._express.Held", sizeof(Held), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, held_slots};

/* -- Python's functions */

/* A copy of a sequence of bytes objects, with room for `slots` texts in front. */
static Text *copy_texts(PyObject *sequence, size_t slots, bool by_hash) {
    Py_ssize_t count = PySequence_Size(sequence);
    size_t size = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PySequence_GetItem(sequence, i);
        Py_ssize_t length = item ? PyBytes_Size(item) : -1;
        Py_XDECREF(item);
        if (length < 0)
            return NULL;
        size += length;
    }
    Text *texts = calloc(1, slots * sizeof(Text) + size + 1);
    if (!texts) {
        PyErr_NoMemory();
        return NULL;
    }
    char *end = (char *)(texts + slots);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PySequence_GetItem(sequence, i);
        Text text = {memcpy(end, PyBytes_AsString(item), PyBytes_Size(item)), PyBytes_Size(item)};
        Py_DECREF(item);
        size_t at = by_hash ? hash(text) : (size_t)i;
        while (texts[at & (slots - 1)].text)
            at++;
        texts[at & (slots - 1)] = text;
        end += text.length;
    }
    return texts;
}

static size_t power_of_two_above(size_t number) {
    size_t power = 1;
    while (power <= number)
        power *= 2;
    return power;
}

static PyObject *module_hold(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *paths, *refused;
    Py_ssize_t most;
    if (!PyArg_ParseTuple(arguments, "OOn", &paths, &refused, &most))
        return NULL;
    Py_ssize_t known = PySequence_Size(paths), names = PySequence_Size(refused);
    if (known < 0 || names < 0)
        return NULL;
    Rules *made = calloc(1, sizeof(Rules));
    if (!made)
        return PyErr_NoMemory();
    made->slots = power_of_two_above(2 * known);
    made->names = names;
    made->most = most;
    made->paths = copy_texts(paths, made->slots, true);
    made->refused = made->paths ? copy_texts(refused, power_of_two_above(names), false) : NULL;
    if (!made->refused) {
        free(made->paths);
        free(made);
        return NULL;
    }
    pthread_mutex_lock(&lock);
    is_open = true;
    pthread_mutex_unlock(&lock);
    /* Rules that were there before are not freed: a worker may be reading them. */
    atomic_store(&rules, made);
    Py_RETURN_NONE;
}

static PyObject *module_close(PyObject *module, PyObject *nothing) {
    (void)module, (void)nothing;
    atomic_store(&rules, NULL);
    pthread_mutex_lock(&lock);
    is_open = false;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    bool closed;
    for (Request *all = take_all(false, &closed); all;) {
        Request *request = all;
        all = all->next;
        let_go_on(request);
        disown(request);
    }
    Py_RETURN_NONE;
}

static PyObject *module_take(PyObject *module, PyObject *nothing) {
    (void)module, (void)nothing;
    bool closed;
    Request *all = take_all(false, &closed);
    if (!all && !closed) {
        Py_BEGIN_ALLOW_THREADS
        all = take_all(true, &closed);
        Py_END_ALLOW_THREADS
    }
    if (!all && closed)
        Py_RETURN_NONE;
    PyObject *taken = PyList_New(0);
    while (all) {
        Request *request = all;
        all = all->next;
        if (atomic_load(&request->gone)) {
            disown(request);
            continue;
        }
        PyObject *held = held_new(request);
        /* Without memory it is given back. */
        if (!held || !taken || PyList_Append(taken, held))
            PyErr_Clear();
        Py_XDECREF(held);
    }
    return taken ? taken : PyErr_NoMemory();
}

static PyMethodDef methods[] = {{"hold", module_hold, METH_VARARGS, NULL},
                                {"close", module_close, METH_NOARGS, NULL},
                                {"take", module_take, METH_NOARGS, NULL},
                                {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_express", NULL, -1, methods,
                                        NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__express(void) {
    PyObject *module = PyModule_Create(&definition);
    held_type = (PyTypeObject *)PyType_FromSpec(&held_spec);
    word_status = PyUnicode_InternFromString("status");
    word_headers = PyUnicode_InternFromString("headers");
    word_body = PyUnicode_InternFromString("body");
    if (module && held_type && word_status && word_headers && word_body &&
        !PyModule_AddObjectRef(module, "Held", (PyObject *)held_type))
        return module;
    Py_XDECREF(module);
    return NULL;
}
