// SPDX-License-Identifier: Apache-2.0
//
// What signals make gantryd do, as docker's users send them to dockerd:
//
//   SIGTERM, SIGINT   it stops; containers go on. The third one ends it at once.
//   SIGHUP            the configuration is read again (reload.h)
//   SIGUSR1           what each thread waits for is written to a file, which the log names
//
// All are blocked before the first thread is started and taken by main's.
#pragma once

#include <string>

#include "cmd/gantryd/reload.h"

namespace gantry::gantryd {

// Before any thread is started, so that all of them inherit it.
void BlockSignals();

// Until the daemon is to stop. From then on a thread counts the signals of who can't wait.
// `directory` is where reports of SIGUSR1 go.
void WaitUntilStopped(Reloader* reloader, const std::string& directory);

}  // namespace gantry::gantryd
