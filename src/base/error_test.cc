// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

namespace gantry {
namespace {

Result<int> Half(int value) {
  if (value % 2 != 0) return InvalidArgument("halving {}: odd", value);
  return value / 2;
}

Result<int> Quarter(int value) { return TRY_WITH(Half(TRY(Half(value))), "quartering {}", value); }

TEST(ErrorTest, TryReturnsValuesAndAddsContext) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(3).error().message(), "halving 3: odd");
  Result<int> failed = Quarter(6);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().message(), "quartering 6: halving 3: odd");
  EXPECT_EQ(failed.error().kind(), ErrorKind::kInvalidArgument);
}

TEST(ErrorTest, ErrnoBecomesKindAndLowerCaseText) {
  errno = ENOENT;
  Error error = ErrnoError("opening '{}'", "/x");
  EXPECT_EQ(error.message(), "opening '/x': no such file or directory");
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  EXPECT_EQ(error.error_number(), ENOENT);
}

TEST(ErrorTest, HintFollowsTheMessage) {
  Error error = InvalidArgument("mounting 'x'");
  error.AddHint("is the upper layer in use?");
  EXPECT_EQ(error.message(), "mounting 'x' (is the upper layer in use?)");
}

TEST(ErrorTest, MoveOnlyValuesPassThrough) {
  auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(4); };
  auto use = [&]() -> Result<int> { return *TRY(make()); };
  EXPECT_EQ(*use(), 4);
}

TEST(ErrorTest, VoidResult) {
  auto run = [](bool fail) -> Result<> {
    auto inner = [&]() -> Result<> {
      if (fail) return Internal("broken");
      return {};
    };
    TRY(inner());
    return {};
  };
  EXPECT_TRUE(run(false).ok());
  EXPECT_EQ(run(true).error().message(), "broken");
}

}  // namespace
}  // namespace gantry
