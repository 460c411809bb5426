// libzstd, as Debian's libzstd-dev installs it. No policy, no helpers: the Swift side (PromptRegistry/Zstd.swift) wraps it.
#pragma once

#include <zstd.h>
