"""Events on their way to those who follow a project live, bounded by what each follower takes."""
