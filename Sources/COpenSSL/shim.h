// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors
#pragma once
#include <openssl/evp.h>
#include <openssl/err.h>
