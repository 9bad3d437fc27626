"""The session machine: what happens at one EVSE, from the tap to the invoice. Pure: facts in, facts and effects out."""
