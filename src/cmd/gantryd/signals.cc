// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/signals.h"

#include <signal.h>
#include <unistd.h>

#include <thread>

#include "base/clock.h"
#include "base/directory.h"
#include "base/io.h"
#include "base/log.h"

namespace gantry::gantryd {
namespace {

constexpr int kImpatient = 3;  // signals in all that end the daemon at once
constexpr int kEndedBySignal = 128;

sigset_t HandledSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&set, number);
  return set;
}

// Of each thread: its number, its name, and the system call it is in (proc_pid_syscall(5)) with the
// kernel's function in which it sleeps.
Result<std::string> WriteThreadReport(const std::string& directory) {
  std::string report = "thread name wchan syscall\n";
  for (const std::string& thread : TRY(ListDirectory("/proc/self/task"))) {
    auto read = [&](const char* file) {
      std::string text = ReadFile(fmt::format("/proc/self/task/{}/{}", thread, file)).value_or("?");
      while (text.ends_with('\n')) text.pop_back();
      return text;
    };
    report += fmt::format("{} {} {} {}\n", thread, read("comm"), read("wchan"), read("syscall"));
  }
  std::string path =
      fmt::format("{}/threads-{}.log", directory, FormatRfc3339Nano(WallClock::now()));
  TRY(ReplaceFile(path, report, 0600));
  return path;
}

void ReportThreads(const std::string& directory) {
  Result<std::string> path = WriteThreadReport(directory);
  if (path.ok()) return log::Info("what each thread waits for is in '{}'", *path);
  log::Failure("reporting threads: {}", path.error().message());
}

void EndWhenAskedAgain() {
  sigset_t set = HandledSignals();
  for (int asked = 1; asked < kImpatient;) {
    int number = 0;
    sigwait(&set, &number);
    if (number != SIGTERM && number != SIGINT) continue;
    if (++asked < kImpatient) continue;
    log::Warning("stopping at once: {} signals came", asked);
    ::_exit(kEndedBySignal + number);
  }
}

}  // namespace

void BlockSignals() {
  sigset_t set = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

void WaitUntilStopped(Reloader* reloader, const std::string& directory) {
  sigset_t set = HandledSignals();
  for (;;) {
    int number = 0;
    sigwait(&set, &number);
    if (number == SIGHUP) {
      reloader->Reload();
    } else if (number == SIGUSR1) {
      ReportThreads(directory);
    } else {
      log::Info("stopping on signal {}; containers go on", number);
      std::thread(EndWhenAskedAgain).detach();
      return;
    }
  }
}

}  // namespace gantry::gantryd
