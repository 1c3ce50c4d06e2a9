// SPDX-License-Identifier: Apache-2.0
//
// A stack of undo steps for work that is done in several steps: each step that succeeds pushes what
// takes it back; Commit() forgets them all. Destroyed without Commit, it runs them, last first.
// Teardown goes on: an undo step reports its own failure. One thread.
#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace gantry {

class Undo {
 public:
  Undo() = default;
  Undo(Undo&& other) noexcept : steps_(std::exchange(other.steps_, {})) {}
  Undo& operator=(Undo&& other) noexcept {
    if (this != &other) {
      Run();
      steps_ = std::exchange(other.steps_, {});
    }
    return *this;
  }
  Undo(const Undo&) = delete;
  Undo& operator=(const Undo&) = delete;
  ~Undo() { Run(); }

  void Push(std::function<void()> step) { steps_.push_back(std::move(step)); }
  void Commit() { steps_.clear(); }
  // Undoes now, last step first.
  void Run() {
    auto steps = std::exchange(steps_, {});
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) (*step)();
  }

 private:
  std::vector<std::function<void()>> steps_;
};

}  // namespace gantry
