"""08: does a reading serve everybody alike?"""
