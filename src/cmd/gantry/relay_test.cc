// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/relay.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/io.h"

namespace gantry::cli {
namespace {

struct Pipe {
  Pipe() {
    int fds[2];
    if (::pipe(fds) != 0) std::abort();
    read = UniqueFd(fds[0]);
    write = UniqueFd(fds[1]);
  }
  std::string Drain() {
    write.Reset();
    return *ReadToEnd(read, 1 << 20);
  }
  UniqueFd read;
  UniqueFd write;
};

std::string Frame(int stream, std::string_view data) {
  std::string out(8, '\0');
  out[0] = static_cast<char>(stream);
  out[6] = static_cast<char>(data.size() >> 8);
  out[7] = static_cast<char>(data.size());
  return out.append(data);
}

TEST(Demultiplexer, AnyCut) {
  std::string text =
      Frame(1, "hello ") + Frame(2, "oops") + Frame(1, "") + Frame(1, std::string(700, 'x'));
  for (size_t piece : {1, 3, 8, 100, 2000}) {
    Pipe out;
    Pipe err;
    Demultiplexer demultiplexer(out.write, err.write);
    for (size_t at = 0; at < text.size(); at += piece) {
      ASSERT_TRUE(demultiplexer.Feed(std::string_view(text).substr(at, piece)).ok());
    }
    EXPECT_TRUE(demultiplexer.complete());
    EXPECT_EQ(out.Drain(), "hello " + std::string(700, 'x'));
    EXPECT_EQ(err.Drain(), "oops");
  }
}

TEST(Demultiplexer, Errors) {
  Demultiplexer demultiplexer{BorrowedFd(), BorrowedFd()};
  EXPECT_TRUE(demultiplexer.Feed(Frame(1, "dropped")).ok());
  EXPECT_EQ(demultiplexer.Feed(Frame(3, "bad")).error().message(),
            "error from daemon in stream: bad");
  EXPECT_FALSE(Demultiplexer(BorrowedFd(), BorrowedFd()).Feed(Frame(9, "x")).ok());
}

TEST(DetachKeys, HoldsPartialSequences) {
  DetachKeys keys = *DetachKeys::Parse("ctrl-p,ctrl-q");
  std::string out;
  EXPECT_FALSE(keys.Filter("a\x10", &out));
  EXPECT_EQ(out, "a");
  EXPECT_FALSE(keys.Filter("b\x10\x10", &out));
  EXPECT_EQ(out,
            "a\x10"
            "b\x10");
  EXPECT_TRUE(keys.Filter("\x11zzz", &out));
  EXPECT_EQ(out,
            "a\x10"
            "b\x10");
}

TEST(DetachKeys, Parses) {
  std::string out;
  DetachKeys single = *DetachKeys::Parse("x");
  EXPECT_TRUE(single.Filter("abx", &out));
  EXPECT_EQ(out, "ab");
  DetachKeys escape = *DetachKeys::Parse("ctrl-[,ctrl-@");
  EXPECT_TRUE(escape.Filter(std::string_view("\x1b\0", 2), &out));
  EXPECT_FALSE(DetachKeys::Parse("ctrl-").ok());
  EXPECT_FALSE(DetachKeys::Parse("ctrl-A").ok());
  DetachKeys none;
  EXPECT_FALSE(none.Filter("\x10\x11", &out));
}

}  // namespace
}  // namespace gantry::cli
