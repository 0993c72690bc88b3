// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

// hiredis 0.14 and 1.x for the module RedisClient, the only one that imports it: its reader (redisReaderCreate, Feed, GetReply) and its formatter
// (redisFormatCommandArgv). Their result and length types differ between the versions (int, size_t, long long), so Swift converts each of them.
#pragma once
#include <hiredis/hiredis.h>

#if HIREDIS_MAJOR == 0 && HIREDIS_MINOR < 14
#error "Portcullis needs hiredis 0.14 or later (libhiredis-dev)"
#endif
