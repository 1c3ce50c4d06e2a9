// SPDX-License-Identifier: Apache-2.0
//
// What a bus may do wrong; what it does right is shown with systemd in the lab machine.
#include "runtime/dbus_client.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "base/io.h"

namespace gantry::runtime {
namespace {

using std::chrono::milliseconds;

class Bus : public ::testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/gt-bus-XXXXXX";
    ASSERT_NE(::mkdtemp(folder), nullptr);
    folder_ = folder;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, Path().c_str());
    listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener_.get(), 1), 0);
  }
  void TearDown() override {
    ::unlink(Path().c_str());
    ::rmdir(folder_.c_str());
  }
  std::string Path() const { return folder_ + "/bus"; }

  std::string folder_;
  UniqueFd listener_;
};

TEST_F(Bus, ThatSaysNothingIsNotWaitedForBeyondTheLimit) {
  SteadyClock::time_point begin = SteadyClock::now();
  Result<DbusClient> client = DbusClient::Connect(Path(), milliseconds(100));
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.error().kind(), ErrorKind::kDeadlineExceeded);
  EXPECT_GE(SteadyClock::now() - begin, milliseconds(100));
  EXPECT_LT(SteadyClock::now() - begin, std::chrono::seconds(5));
}

TEST_F(Bus, ThatIsNotThereIsAnError) {
  EXPECT_FALSE(DbusClient::Connect(folder_ + "/none", milliseconds(100)).ok());
}

// The answers are in the socket before the client asks.
TEST_F(Bus, ThatAnswersWithNonsenseIsAnError) {
  for (const char* answer : {"REJECTED EXTERNAL\r\n", "OK 1\r\nno message of any kind at all",
                             "\r\n", "DATA\r\nDATA\r\nDATA\r\nDATA\r\n"}) {
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      UniqueFd connection(::accept(listener_.get(), nullptr, nullptr));
      bool sent = WriteAll(connection, answer).ok();
      // Held open: the client is to see what was said, not the end.
      char byte;
      while (::read(connection.get(), &byte, 1) > 0) {
      }
      ::_exit(sent ? 0 : 1);
    }
    Result<DbusClient> client = DbusClient::Connect(Path(), std::chrono::seconds(5));
    ASSERT_FALSE(client.ok()) << answer;
    EXPECT_NE(client.error().kind(), ErrorKind::kDeadlineExceeded) << answer;
    int status = 0;
    ::waitpid(child, &status, 0);
  }
}

}  // namespace
}  // namespace gantry::runtime
