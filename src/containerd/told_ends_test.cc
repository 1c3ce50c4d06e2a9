// SPDX-License-Identifier: Apache-2.0
#include "containerd/told_ends.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/random.h"
#include "containerd/events/task.pb.h"

namespace gantry::containerd {
namespace {

template <typename Event>
void Add(EventLog& log, const std::string& topic, const Event& event) {
  ::containerd::types::Envelope envelope;
  envelope.set_namespace_("ns");
  envelope.set_topic(topic);
  envelope.mutable_event()->set_value(event.SerializeAsString());
  log.Append(envelope);
}

template <typename Event>
Event Of(const std::string& container, const std::string& id) {
  Event event;
  event.set_container_id(container);
  event.set_id(id);
  return event;
}

TEST(ToldEnds, SinceTheLastCreation) {
  using ::containerd::events::TaskCreate;
  using ::containerd::events::TaskDelete;
  using ::containerd::events::TaskExit;
  std::string directory = ::testing::TempDir() + "told-ends-" + RandomHex(4);
  auto log = std::move(EventLog::Open(directory)).value();
  Add(*log, "/tasks/exit", Of<TaskExit>("whole", "whole"));
  Add(*log, "/tasks/delete", Of<TaskDelete>("whole", ""));
  Add(*log, "/tasks/exit", Of<TaskExit>("exec", "e1"));
  Add(*log, "/tasks/exit", Of<TaskExit>("again", "again"));
  TaskCreate create;
  create.set_container_id("again");
  Add(*log, "/tasks/create", create);
  auto told = ReadToldEnds(*log);
  std::pair<std::string, std::string> whole{"ns", "whole"};
  EXPECT_TRUE(told[whole].exit && told[whole].deleted);
  std::pair<std::string, std::string> exec{"ns", "exec"};
  EXPECT_FALSE(told[exec].exit);
  std::pair<std::string, std::string> again{"ns", "again"};
  EXPECT_FALSE(told[again].exit) << "that was the one before";
  EXPECT_TRUE(told[again].created);
  EXPECT_FALSE(told[whole].created);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace gantry::containerd
